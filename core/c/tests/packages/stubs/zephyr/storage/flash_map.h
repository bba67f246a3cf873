/* Stands in for the flash map of Zephyr. */
#pragma once
#include <zephyr/drivers/flash.h>

#include "storage.h"

struct flash_area { uint8_t fa_id; off_t fa_off; size_t fa_size; const struct device *fa_dev; };
#define FIXED_PARTITION_ID(label) 1

static inline int flash_area_open(uint8_t id, const struct flash_area **area) {
    static const struct flash_area storage_area = {1, 0x78000, 0x8000, NULL};
    *area = &storage_area;
    return id == 1 ? 0 : -2;
}
static inline const struct device *flash_area_get_device(const struct flash_area *area) { return area->fa_dev; }
static inline uint32_t flash_area_align(const struct flash_area *area) { return area->fa_id ? 4 : 1; }
static inline int flash_area_read(const struct flash_area *area, off_t offset, void *bytes, size_t len) {
    return (size_t)offset + len > area->fa_size ? -22 : storage_read((uint32_t)offset, bytes, len);
}
static inline int flash_area_write(const struct flash_area *area, off_t offset, const void *bytes, size_t len) {
    return offset % 4 || len % 4 || (size_t)offset + len > area->fa_size ? -22 : storage_write((uint32_t)offset, bytes, len);
}
static inline int flash_area_erase(const struct flash_area *area, off_t offset, size_t len) {
    return offset % 4096 || len % 4096 || (size_t)offset + len > area->fa_size ? -22 : storage_write((uint32_t)offset, NULL, len);
}
