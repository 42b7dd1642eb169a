#include "fail.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void fail(int code, const char *format, ...) {
  va_list args;
  va_start(args, format);
  fputs("altrace-launcher: ", stderr);
  vfprintf(stderr, format, args);
  fputc('\n', stderr);
  va_end(args);
  exit(code);
}
