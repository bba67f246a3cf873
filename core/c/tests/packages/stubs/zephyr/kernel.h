/* Stands in for the kernel of Zephyr. */
#pragma once
#include <stdio.h>
#define printk printf
