#pragma once

// Gives the main thread its thread-local storage; called once, before main.
void threads_start(void);
