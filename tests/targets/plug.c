#include <stdio.h>
static int made;
__attribute__((noinline)) int plug_step(int i){ __asm__ volatile(""); return i+1; }
__attribute__((constructor)) static void begin(void){ made = plug_step(0); }
int plug_made(void){ return made; }
