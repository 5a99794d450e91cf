// Marks the part of a program that figures are to be about, so that preparations do not count (emulator compare, --stats=json).
// Parts add up. Anything but the emulator answers with EINVAL, and nothing happens.
#pragma once

enum { PR_EMULATOR_MEASURE = 0x454d5500 };

static inline void measure_begin(void) { sys(prctl, PR_EMULATOR_MEASURE, 1, 0, 0, 0); }
static inline void measure_end(void) { sys(prctl, PR_EMULATOR_MEASURE, 0, 0, 0, 0); }
