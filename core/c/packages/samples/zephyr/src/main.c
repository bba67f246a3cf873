/* Trains a small model, and keeps its checkpoints in the storage partition. Reset the board while it trains: the run continues
 * with the newest checkpoint. */
#include <zephyr/drivers/flash.h>
#include <zephyr/kernel.h>
#include <zephyr/storage/flash_map.h>

#include "line.h"

static int read_area(void *context, uint32_t address, uint8_t *bytes, size_t len) {
    return flash_area_read((const struct flash_area *)context, (off_t)address, bytes, len);
}

static int program_area(void *context, uint32_t address, const uint8_t *bytes, size_t len) {
    return flash_area_write((const struct flash_area *)context, (off_t)address, bytes, len);
}

static int erase_area(void *context, uint32_t address, uint32_t len) {
    return flash_area_erase((const struct flash_area *)context, (off_t)address, len);
}

int main(void) {
    static tm_checkpoint latest;
    const tm_checkpoint_config config = line_checkpoint_config();
    const struct flash_area *area;
    struct flash_pages_info page;
    uint32_t resumed_at = 0;
    if (flash_area_open(FIXED_PARTITION_ID(storage_partition), &area) != 0 ||
        flash_get_page_info_by_offs(flash_area_get_device(area), area->fa_off, &page) != 0) {
        printk("there is no storage partition\n");
        return 0;
    }
    const tm_flash flash = {
        .context = (void *)(uintptr_t)area,
        .read = read_area, .program = program_area, .erase = erase_area,
        .size = 3 * page.size, .slots = 3,
        .erase_size = page.size, .write_size = flash_area_align(area), .read_size = 1,
    };
    tm_status status = tm_checkpoint_open_flash(&latest, &config, &flash);
    if (status == TM_OK) {
        status = line_train(&latest, &resumed_at);
    }
    printk("resumed after iteration %u, weights %f %f, %s\n", resumed_at, (double)line_weights[0],
           (double)line_weights[1], tm_strerror(status));
    return 0;
}
