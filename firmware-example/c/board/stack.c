/* Measures the stack of a call: the free stack is filled with a pattern, and the overwritten words are counted. */
#include "board.h"

extern uint32_t bss_end[];

enum { PATTERN = 0x5afe57ac, MAX_WORDS = 2048, MARGIN = 32 };
static volatile uint32_t *low, *high;

__attribute__((noinline)) void stack_paint(void) {
    volatile uint32_t *top = (volatile uint32_t *)__builtin_frame_address(0) - MARGIN;
    low = top - bss_end < MAX_WORDS ? bss_end : top - MAX_WORDS;
    high = top;
    for (volatile uint32_t *word = low; word < high; word++) *word = PATTERN;
}

__attribute__((noinline)) uint32_t stack_depth(void) {
    const volatile uint32_t *word = low;
    while (word < high && *word == PATTERN) word++;
    if (word == low) board_exit(103); /* The stack is full, so the numbers mean nothing. */
    return (uint32_t)(high - word + MARGIN) * 4;
}
