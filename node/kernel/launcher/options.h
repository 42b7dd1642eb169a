/* What a launcher is told on its command line. */
enum { WRONG_USAGE = 2 };

struct options {
  long port, pairs, uid, gid, end_ms;
  int netlink, early;
  const char *handover;
  char **command;
};

/* Ends the program with WRONG_USAGE and a word on standard error where they are not right. */
struct options read_options(int argc, char **argv);
