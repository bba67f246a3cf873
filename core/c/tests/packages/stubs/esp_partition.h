/* Stands in for the partitions of the ESP-IDF. */
#pragma once
#include "storage.h"

typedef int esp_err_t;
typedef enum { ESP_PARTITION_TYPE_DATA = 1 } esp_partition_type_t;
typedef enum { ESP_PARTITION_SUBTYPE_ANY = 0xff } esp_partition_subtype_t;
typedef struct { uint32_t address, size, erase_size; } esp_partition_t;

static inline const esp_partition_t *esp_partition_find_first(esp_partition_type_t type, esp_partition_subtype_t subtype,
                                                              const char *label) {
    static const esp_partition_t partition = {0x110000, 0x6000, 0x1000};
    return type == ESP_PARTITION_TYPE_DATA && (int)subtype == 0x40 && strcmp(label, "checkpoints") == 0 ? &partition : NULL;
}
static inline esp_err_t esp_partition_read(const esp_partition_t *partition, size_t offset, void *bytes, size_t len) {
    return offset + len > partition->size ? 0x104 : storage_read((uint32_t)offset, bytes, len);
}
static inline esp_err_t esp_partition_write(const esp_partition_t *partition, size_t offset, const void *bytes, size_t len) {
    return offset + len > partition->size ? 0x104 : storage_write((uint32_t)offset, bytes, len);
}
static inline esp_err_t esp_partition_erase_range(const esp_partition_t *partition, size_t offset, size_t len) {
    return offset % partition->erase_size || len % partition->erase_size ? 0x102 : storage_write((uint32_t)offset, NULL, len);
}

void app_main(void);
int main(void) {
    app_main();
    return 0;
}
