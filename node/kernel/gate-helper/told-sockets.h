/*
 * Connections that the node has taken in since the list was made, as it says. It may say what is not so: each is only
 * looked for, by its two ends, and what the kernel then has there is judged as any other socket is.
 */
#include "socket-sweep.h"

/* Takes what was said meanwhile. */
void hear_told(int flows);

/* What a list has that was made since. */
void forget_told(void);

/* Looks for a few of those that lead to the scope, and puts those that stand on the list. Returns whether more are left. */
int find_told(int diag, struct sockets *in, const struct meaning *of);
