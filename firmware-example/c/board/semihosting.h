/* The operations of semihosting that the boards use. */
#ifndef SEMIHOSTING_H
#define SEMIHOSTING_H

#include <stdint.h>

enum {
    SYS_OPEN = 1, SYS_WRITE = 5, SYS_READ = 6, SYS_SEEK = 10, SYS_FLEN = 12, SYS_GET_CMDLINE = 0x15,
    SYS_EXIT_EXTENDED = 0x20
};

/* Executes an operation. The meaning of the result depends on it. */
uintptr_t semihosting(uintptr_t operation, const void *argument);

#endif
