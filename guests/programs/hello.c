#include "guest.h"

int main(int argc, char **argv, char **envp)
{
    (void)argc, (void)argv, (void)envp;
    print("Hello from a guest program.\n");
    return 0;
}
