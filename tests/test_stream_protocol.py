import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeq.stream.framing import MAX_PAYLOAD
from edgeq.stream.protocol import (
    Ack,
    CyclesPiece,
    DeviceError,
    Hello,
    Identity,
    Input,
    Log,
    Message,
    MessageError,
    Profile,
    ResultPiece,
    Run,
    Stop,
    Stream,
    decode_message,
    encode_message,
)
from edgeq.stream.result import Assembler, Result

bytes_u8, words = st.integers(0, 255), st.integers(0, 2**32 - 1)
texts = st.text(st.characters(blacklist_characters="\0", codec="utf-8"), max_size=20)
messages = st.one_of(
    st.just(Hello()),
    st.just(Stop()),
    st.builds(Input, words, st.binary(min_size=1, max_size=MAX_PAYLOAD - 4)),
    st.builds(Run, words, words),
    st.builds(Stream, words, words),
    st.builds(Profile, words),
    st.builds(
        lambda is_real, first, cycles, rest: CyclesPiece(
            is_real, first + len(cycles) + rest, first, tuple(cycles)
        ),
        st.booleans(),
        st.integers(0, 10_000),
        st.lists(words, min_size=1, max_size=61),
        st.integers(0, 10_000),
    ),
    st.builds(
        Identity,
        st.integers(32, 65535),
        *[words] * 3,
        st.integers(1, 2**32 - 1),
        words,
        st.binary(min_size=16, max_size=16),
        *[texts] * 3,
    ),
    st.builds(Ack, bytes_u8, words),
    st.builds(
        lambda run_id, ticks, offset, data, rest: ResultPiece(
            run_id, ticks, offset + len(data) + rest, offset, data
        ),
        words,
        st.integers(0, 2**64 - 1),
        st.integers(0, 10_000),
        st.binary(min_size=1, max_size=236),
        st.integers(0, 10_000),
    ),
    st.builds(Log, bytes_u8, texts),
    st.builds(DeviceError, bytes_u8, texts),
)
IDENTITY = Identity(256, 1, 2, 3, 4, 5, bytes(16), "m", "b", "f")


@given(messages)
def test_messages_come_back_as_they_were_sent(message: Message) -> None:
    assert decode_message(message.TYPE, encode_message(message)) == message


@given(bytes_u8, st.binary(max_size=MAX_PAYLOAD))
def test_any_payload_is_a_message_or_an_error(kind: int, payload: bytes) -> None:
    try:
        message = decode_message(kind, payload)
    except MessageError:
        return
    assert encode_message(message) == payload


@pytest.mark.parametrize(
    ("kind", "payload", "text"),
    [
        (0x77, b"", "type 0x77"),
        (Hello.TYPE, b"x", "Hello: has 1 bytes, must have 0"),
        (Run.TYPE, bytes(7), "Run: has 7 bytes, must have 8"),
        (Ack.TYPE, bytes(6), "Ack: has 6 bytes, must have 5"),
        (ResultPiece.TYPE, bytes(19), "result_piece: has 19 bytes, must have at least 20"),
        (ResultPiece.TYPE, bytes(20), "holds bytes 0 to 0 of 0"),
        (ResultPiece.TYPE, bytes(12) + b"\1\0\0\0" + b"\1\0\0\0x", "bytes 1 to 2 of 1"),
        (CyclesPiece.TYPE, bytes(9), "0 bytes of cycles from layer 0 of 0"),
        (CyclesPiece.TYPE, b"\0\1" + bytes(7) + bytes(7), "7 bytes of cycles"),
        (
            CyclesPiece.TYPE,
            b"\0\1" + bytes(7) + bytes(8),
            "8 bytes of cycles from layer 0 of 1",
        ),
        (CyclesPiece.TYPE, b"\2\1" + bytes(7) + bytes(4), "4 bytes of cycles"),
        (Log.TYPE, b"", "log: has 0 bytes"),
        (Log.TYPE, b"\0\xff", "not UTF-8"),
        (DeviceError.TYPE, b"\0\xc3", "not UTF-8"),
        (Identity.TYPE, encode_message(IDENTITY)[:-1], "three texts"),
        (Identity.TYPE, encode_message(IDENTITY) + b"x\0", "three texts"),
        (Identity.TYPE, b"\1\0" + encode_message(IDENTITY)[2:], "maximum payload is 1"),
        (Identity.TYPE, encode_message(IDENTITY)[:14] + bytes(40), "0 Hz"),
    ],
)
def test_malformed_messages_are_refused(kind: int, payload: bytes, text: str) -> None:
    with pytest.raises(MessageError, match=text):
        decode_message(kind, payload)


def test_a_field_that_does_not_fit_is_not_sent() -> None:
    with pytest.raises(ValueError, match="Run"):
        encode_message(Run(2**32, 0))


def test_pieces_are_joined_only_if_their_frames_follow_one_another() -> None:
    def piece(offset: int, data: bytes, run_id: int = 9) -> ResultPiece:
        return ResultPiece(run_id, 5, 4, offset, data)

    joined = Result(b"abcd", 5, 9)
    assembler = Assembler()
    assert assembler.add(piece(0, b"ab"), 65535) is None
    assert assembler.is_on
    assert assembler.add(piece(2, b"cd"), 0) == joined
    assert not assembler.is_on
    assert assembler.add(piece(2, b"cd"), 1) is None

    for second, sequence in (
        (piece(2, b"cd"), 12),
        (piece(2, b"cd", 8), 11),
        (piece(3, b"d"), 11),
    ):
        assert assembler.add(piece(0, b"ab"), 10) is None
        assert assembler.add(second, sequence) is None
        assert not assembler.is_on

    assert assembler.add(piece(0, b"xx"), 10) is None
    assert assembler.add(piece(0, b"ab"), 11) is None
    assert assembler.add(piece(2, b"cd"), 12) == joined
    assert assembler.add(piece(0, b"ab"), 13) is None
    assembler.clear()
    assert assembler.add(piece(2, b"cd"), 14) is None
