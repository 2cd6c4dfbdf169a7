// Where in the source a thread waits, for the emulator's messages. On a GPU it is nothing.
#pragma once
#ifdef LC_EMULATED
#include <source_location>
#define LC_PLACE std::source_location place = std::source_location::current()
#define LC_AND_PLACE , LC_PLACE
#else
#define LC_PLACE
#define LC_AND_PLACE
#endif
