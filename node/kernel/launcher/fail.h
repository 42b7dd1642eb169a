/* Ends the program with a word on standard error. */
void fail(int code, const char *format, ...) __attribute__((noreturn, format(printf, 2, 3)));
