"""The bytes of an .onnx file: parsed, its tensors decoded within bounds, its attributes too."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeq.errors import ImportFailure, ToolError
from edgeq.graph import Array
from edgeq.importers.onnx_fold import MAX_ELEMENTS
from edgeq.importers.onnx_node import Refused

if TYPE_CHECKING:
    import onnx

FIRST_OPSET, LAST_OPSET = 13, 25


def load_model(path: Path) -> onnx.ModelProto:
    """The parsed file, its local functions written out.

    Raises:
        ToolError: the onnx package is missing.
        ImportFailure: not an ONNX model, or of an opset that is not read.
    """
    try:
        import onnx
        from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
        from onnx import inliner
    except ImportError:
        raise ToolError(
            f"{path}: reading ONNX needs the onnx package: pip install 'edgeq[onnx]'"
        ) from None
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise ImportFailure(f"{path}: cannot be read: {error.strerror}") from None
    model = onnx.ModelProto()
    try:
        model.ParseFromString(raw)
    except (DecodeError, RuntimeError, ValueError):
        raise ImportFailure(f"{path}: is not an ONNX model, or is truncated") from None
    if not model.HasField("graph") or not model.graph.node or not model.opset_import:
        raise ImportFailure(f"{path}: is not an ONNX model: it holds no graph")
    if not _is_text(model):
        raise ImportFailure(f"{path}: is damaged: a name in it is no text")
    if model.functions:
        try:
            model = inliner.inline_local_functions(model)
        except Exception as error:  # the C++ checker's exceptions have no common base
            raise ImportFailure(f"{path}: local functions: {_line(error)}") from None
    return model


def _is_text(model: onnx.ModelProto) -> bool:
    """Whether all names are text: protobuf gives bytes for what is not UTF-8."""
    graph = model.graph
    named = (*graph.node, *graph.initializer, *graph.input, *graph.output, *graph.value_info)
    names = [item.name for item in named]
    for node in graph.node:
        names += [node.op_type, node.domain, *node.input, *node.output]
        names += [attribute.name for attribute in node.attribute]
        names += [text for prop in node.metadata_props for text in (prop.key, prop.value)]
    for info in (*graph.input, *graph.output, *graph.value_info):
        names += [dim.dim_param for dim in info.type.tensor_type.shape.dim]
    for tensor in graph.initializer:
        names += [text for entry in tensor.external_data for text in (entry.key, entry.value)]
    names += [opset.domain for opset in model.opset_import]
    return all(isinstance(name, str) for name in names)


def opset_of(model: onnx.ModelProto, path: Path) -> int:
    """The version of ONNX's own operators.

    Raises:
        ImportFailure: it is absent or not read.
    """
    versions = [o.version for o in model.opset_import if o.domain in ("", "ai.onnx")]
    if not versions:
        raise ImportFailure(f"{path}: imports no ONNX operators, must have an opset")
    if not FIRST_OPSET <= versions[0] <= LAST_OPSET:
        raise ImportFailure(
            f"{path}: opset is {versions[0]}, must be {FIRST_OPSET} to {LAST_OPSET}; export "
            f"again with torch.onnx.export(..., opset_version=18)"
        )
    return int(versions[0])


def decode_tensor(tensor: onnx.TensorProto, folder: Path) -> Array:
    """The numbers of a TensorProto; external data is read beside the model only.

    Raises:
        Refused: type, size or place of the data is wrong.
    """
    from onnx import TensorProto, helper, numpy_helper

    shape = tuple(tensor.dims)
    if any(extent < 0 for extent in shape) or math.prod(shape) > MAX_ELEMENTS:
        raise Refused(f"shape is {shape}, more than {MAX_ELEMENTS} elements or negative")
    if tensor.data_type in (TensorProto.UNDEFINED, TensorProto.STRING):
        raise Refused("is no tensor of numbers")
    if tensor.HasField("segment"):
        raise Refused("is stored in segments, which are not read")
    try:
        if tensor.data_location != TensorProto.EXTERNAL:
            return np.asarray(numpy_helper.to_array(tensor)).reshape(shape)
        dtype = np.dtype(helper.tensor_dtype_to_np_dtype(tensor.data_type))
    except (ValueError, TypeError, KeyError) as error:
        raise Refused(f"data does not fit shape {shape}: {_line(error)}") from None
    return _external(tensor, folder, dtype).reshape(shape)


def _external(tensor: onnx.TensorProto, folder: Path, dtype: np.dtype[Any]) -> Array:
    """The elements of a tensor that another file holds, little endian, as ONNX has it."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    file = (folder / location).resolve()
    if not location or not file.is_relative_to(folder.resolve()):
        raise Refused(f"external data is at '{location}', must be beside the model")
    nbytes = math.prod(tensor.dims) * dtype.itemsize
    try:
        offset, length = int(entries.get("offset", "0")), int(entries.get("length", nbytes))
        if length != nbytes or offset < 0:
            raise Refused(f"external data has {length} bytes, must have {nbytes}")
        with file.open("rb") as stream:
            stream.seek(offset)
            raw = stream.read(nbytes)
    except ValueError:
        raise Refused("external data has an offset or a length that is no number") from None
    except OSError:
        raise Refused(
            f"external data '{location}' is missing; copy it beside the model, or export with "
            f"external_data=False"
        ) from None
    if len(raw) != nbytes:
        raise Refused(f"external data '{location}' ends early: {len(raw)} of {nbytes} bytes")
    return np.frombuffer(raw, dtype.newbyteorder("<")).astype(dtype)


def decode_attributes(node: onnx.NodeProto, folder: Path) -> dict[str, Any]:
    """Attributes as int, float, str, list or array; others as they come.

    Raises:
        Refused: an attribute cannot be decoded.
    """
    from onnx import AttributeProto, helper

    attributes: dict[str, Any] = {}
    for attribute in node.attribute:
        if attribute.ref_attr_name:
            raise Refused(f"attribute {attribute.name} refers to that of a function")
        if attribute.type == AttributeProto.TENSOR:
            attributes[attribute.name] = decode_tensor(attribute.t, folder)
            continue
        try:
            value = helper.get_attribute_value(attribute)
        except (ValueError, TypeError) as error:
            raise Refused(f"attribute {attribute.name}: {_line(error)}") from None
        if isinstance(value, bytes):
            value = value.decode("utf-8", "replace")
        is_scalar = isinstance(value, int | float | str)
        attributes[attribute.name] = value if is_scalar else _as_list(value)
    return attributes


def _as_list(value: Any) -> Any:
    """A repeated field as a list; a message as it is."""
    try:
        return list(value)
    except TypeError:
        return value


def _line(error: Exception) -> str:
    """The first line of somebody else's error."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
