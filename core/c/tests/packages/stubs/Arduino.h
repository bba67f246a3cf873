// Stands in for the Arduino core.
#pragma once
#include <cstdio>

#include "storage.h"

struct Console {
    void begin(long) {}
    void print(const char *text) { std::printf("%s", text); }
    void print(double number) { std::printf("%.2f", number); }
    void println(const char *text) { std::printf("%s\n", text); }
    void println(uint32_t number) { std::printf("%u\n", number); }
    void println(double number) { std::printf("%.2f\n", number); }
};
static Console Serial;

void setup();
void loop();
int main() {
    setup();
    loop();
}
