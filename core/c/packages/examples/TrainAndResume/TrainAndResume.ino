// Trains a small model, and keeps its checkpoints in an I2C FRAM (for example MB85RC256V, 32 KiB, at the address 0x50). Reset
// the board while it trains: the run continues with the newest checkpoint.
#include <Wire.h>
#include <training_monitor.h>

#include "line.h"

static const uint8_t FRAM = 0x50;
static const size_t CHUNK = 16;  // Less than the buffer of Wire on every board.

static void select_address(uint32_t address) {
    Wire.beginTransmission(FRAM);
    Wire.write((uint8_t)(address >> 8));
    Wire.write((uint8_t)address);
}

static int read_fram(void *, uint32_t address, uint8_t *bytes, size_t len) {
    while (len > 0) {
        const size_t part = len < CHUNK ? len : CHUNK;
        select_address(address);
        if (Wire.endTransmission() != 0) return 1;
        if ((size_t)Wire.requestFrom(FRAM, (uint8_t)part) != part) return 1;
        for (size_t i = 0; i < part; i++) bytes[i] = (uint8_t)Wire.read();
        address += (uint32_t)part;
        bytes += part;
        len -= part;
    }
    return 0;
}

static int write_fram(void *, uint32_t address, const uint8_t *bytes, size_t len) {
    while (len > 0) {
        const size_t part = len < CHUNK ? len : CHUNK;
        select_address(address);
        Wire.write(bytes, part);
        if (Wire.endTransmission() != 0) return 1;
        address += (uint32_t)part;
        bytes += part;
        len -= part;
    }
    return 0;
}

static tm_memory memory;
static tm_checkpoint latest;

void setup() {
    Serial.begin(115200);
    Wire.begin();
    memory.read = read_fram;
    memory.write = write_fram;
    memory.size = 3 * 512;  // n_saved + 1 slots
    memory.slots = 3;
    memory.page_size = 1;

    const tm_checkpoint_config config = line_checkpoint_config();
    uint32_t resumed_at = 0;
    tm_status status = tm_checkpoint_open_memory(&latest, &config, &memory);
    if (status == TM_OK) status = line_train(&latest, &resumed_at);
    Serial.print("resumed after iteration ");
    Serial.println(resumed_at);
    Serial.print("weights ");
    Serial.print(line_weights[0]);
    Serial.print(" ");
    Serial.println(line_weights[1]);
    Serial.println(tm_strerror(status));
}

void loop() {}
