/* A container's program that waits for its end, for the root file systems of the peers. */
#include <unistd.h>

int main(void)
{
	for (;;)
		pause();
}
