/* The functions of string.h that line.h uses. The archive contains them. */
#pragma once
#include <stddef.h>
void *memset(void *bytes, int value, size_t len);
void *memcpy(void *to, const void *from, size_t len);
