/* The board that the tests play on the host: ticks are microseconds. */
#ifndef EDGEQ_BOARD_H
#define EDGEQ_BOARD_H

#define EDGEQ_BOARD_NAME "host"
#define EDGEQ_CORE_HZ    1000000u

#endif /* EDGEQ_BOARD_H */
