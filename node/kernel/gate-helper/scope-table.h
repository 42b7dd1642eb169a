/* What each scope means, as the enforcer writes it to standard input. */
#include <stddef.h>
#include <stdint.h>

enum { V4_BYTES = 4, V6_BYTES = 16 };

/* Addresses of one family, in the order of their bytes. */
struct addresses { const unsigned char *bytes; uint32_t count; };

/* `batches`: a length and a batch of netfilter messages, and again. All of it lies in `kept`. */
struct meaning {
  const char *scope;
  struct addresses v4, v6;
  const unsigned char *batches;
  uint32_t bytes;
  unsigned char *kept;
};

/* Reads what is there. Returns 0 at the end of the input. Ends the program on what is no table. */
int read_table(void);

/* NULL for a scope that no pod of this machine has. Good until the next `read_table`. */
const struct meaning *meaning_of(const char *scope);

/* A number as it lies in a table or a netlink message. */
uint32_t u32_at(const unsigned char *at);

/* Whether an address is among those of its family. */
int is_among(const struct addresses *of, const void *address, size_t bytes);
