/* Trains a small model, and keeps its checkpoints in the partition `checkpoints`. Reset the board while it trains: the run
 * continues with the newest checkpoint. */
#include <inttypes.h>
#include <stdio.h>

#include "esp_partition.h"
#include "line.h"

static int read_partition(void *context, uint32_t address, uint8_t *bytes, size_t len) {
    return esp_partition_read((const esp_partition_t *)context, address, bytes, len);
}

static int program_partition(void *context, uint32_t address, const uint8_t *bytes, size_t len) {
    return esp_partition_write((const esp_partition_t *)context, address, bytes, len);
}

static int erase_partition(void *context, uint32_t address, uint32_t len) {
    return esp_partition_erase_range((const esp_partition_t *)context, address, len);
}

void app_main(void) {
    static tm_checkpoint latest;
    const tm_checkpoint_config config = line_checkpoint_config();
    const esp_partition_t *partition =
        esp_partition_find_first(ESP_PARTITION_TYPE_DATA, (esp_partition_subtype_t)0x40, "checkpoints");
    if (partition == NULL) {
        printf("there is no partition named checkpoints\n");
        return;
    }
    const tm_flash flash = {
        .context = (void *)(uintptr_t)partition,
        .read = read_partition, .program = program_partition, .erase = erase_partition,
        .size = partition->size, .slots = 3,
        .erase_size = partition->erase_size, .write_size = 16, .read_size = 1,
    };
    uint32_t resumed_at = 0;
    tm_status status = tm_checkpoint_open_flash(&latest, &config, &flash);
    if (status == TM_OK) status = line_train(&latest, &resumed_at);
    printf("resumed after iteration %" PRIu32 ", weights %f %f, %s\n", resumed_at, (double)line_weights[0],
           (double)line_weights[1], tm_strerror(status));
}
