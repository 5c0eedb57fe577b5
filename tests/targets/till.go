// Arguments in Go's registers, several results, goroutines whose stacks grow.
package main

import (
	"bufio"
	"fmt"
	"os"
)

type box struct{ total int }

//go:noinline
func add(a, b, c int, s string) int {
	if a > 1<<40 {
		fmt.Println("large")
	}
	return a + b + c + len(s)
}

//go:noinline
func (b *box) Put(n int) (int, int) {
	b.total += n
	return b.total, n
}

func main() {
	fmt.Println("ready")
	in := bufio.NewReader(os.Stdin)
	in.ReadString('\n')
	b := &box{}
	sum := 0
	for i := 0; i < 100; i++ {
		sum += add(i, i*2, 7, "four")
		t, _ := b.Put(i)
		sum += t
	}
	done := make(chan int)
	for g := 0; g < 4; g++ {
		go func(g int) { n := 0; for i := 0; i < 100; i++ { n += add(i, g, 1, "xy") }; done <- n }(g)
	}
	for g := 0; g < 4; g++ {
		sum += <-done
	}
	fmt.Printf("add 500\nput 100\nsum %d\ndone\n", sum)
	in.ReadString('\n')
}
