/* Prints the addresses of a name, or the number of the error, by the getaddrinfo of the C library that it is linked with: musl's.
   No headers: they would be those of another C library. The layout is musl's on x86_64 and aarch64. */
struct addrinfo {
    int flags, family, socktype, protocol;
    unsigned length;
    void *address;
    char *canonical;
    struct addrinfo *next;
};

int getaddrinfo(const char *, const char *, const struct addrinfo *, struct addrinfo **);
int getnameinfo(const void *, unsigned, char *, unsigned, char *, unsigned, int);
int printf(const char *, ...);
int __libc_start_main(int (*)(int, char **), int, char **, void (*)(void), void (*)(void), void (*)(void));

static void nothing(void) {}

int main(int count, char **arguments)
{
    struct addrinfo hints = {0, 0, 1, 0, 0, 0, 0, 0}, *found;
    char text[64];
    int error = count > 1 ? getaddrinfo(arguments[1], 0, &hints, &found) : 99;
    if (error) {
        printf("error %d\n", error);
        return 1;
    }
    for (; found; found = found->next)
        if (!getnameinfo(found->address, found->length, text, sizeof text, 0, 0, 1))
            printf("%s\n", text);
    return 0;
}

void begin(long *stack)
{
    __libc_start_main(main, (int)*stack, (char **)(stack + 1), nothing, nothing, 0);
}

#if defined(__x86_64__)
__asm__(".globl _start\n_start: xor %rbp,%rbp\n mov %rsp,%rdi\n and $-16,%rsp\n call begin\n");
#else
__asm__(".globl _start\n_start: mov x29,#0\n mov x30,#0\n mov x0,sp\n and sp,x0,#-16\n b begin\n");
#endif
