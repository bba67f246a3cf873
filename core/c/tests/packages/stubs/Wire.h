// Stands in for the I2C bus with an FRAM at the address 0x50 that has two bytes of address.
#pragma once
#include "Arduino.h"

struct Bus {
    uint8_t sent[34], received[32];
    size_t sent_len = 0, received_len = 0, next = 0;
    uint32_t address = 0;

    void begin() {}
    void beginTransmission(uint8_t device) { sent_len = device == 0x50 ? 0 : sizeof sent; }
    size_t write(uint8_t byte) { return write(&byte, 1); }
    size_t write(const uint8_t *bytes, size_t len) {
        if (sent_len + len > sizeof sent) return 0;
        memcpy(sent + sent_len, bytes, len);
        sent_len += len;
        return len;
    }
    uint8_t endTransmission() {
        if (sent_len < 2 || sent_len > sizeof sent) return 1;
        address = (uint32_t)(sent[0] << 8 | sent[1]);
        return sent_len > 2 ? (uint8_t)storage_write(address, sent + 2, sent_len - 2) : 0;
    }
    uint8_t requestFrom(uint8_t, uint8_t len) {
        next = 0;
        return len <= sizeof received && storage_read(address, received, len) == 0 ? len : 0;
    }
    int read() { return received[next++]; }
};
static Bus Wire;
