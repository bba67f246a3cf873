/* A memory that survives the end of the program: the file whose path is the environment variable STORAGE. */
#ifndef STORAGE_H
#define STORAGE_H
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint8_t storage[32768];

static int storage_read(uint32_t address, void *bytes, size_t len) {
    FILE *file = fopen(getenv("STORAGE"), "rb");
    if (file != NULL) {
        if (fread(storage, 1, sizeof storage, file) != sizeof storage) abort();
        fclose(file);
    }
    if (address + len > sizeof storage) return 1;
    memcpy(bytes, storage + address, len);
    return 0;
}

/* A null pointer erases. */
static int storage_write(uint32_t address, const void *bytes, size_t len) {
    FILE *file;
    uint8_t byte;
    if (storage_read(address, &byte, len ? 1 : 0) != 0 || address + len > sizeof storage) return 1;
    if (bytes != NULL) memcpy(storage + address, bytes, len);
    else memset(storage + address, 0xff, len);
    file = fopen(getenv("STORAGE"), "wb");
    if (file == NULL || fwrite(storage, 1, sizeof storage, file) != sizeof storage) abort();
    fclose(file);
    return 0;
}
#endif
