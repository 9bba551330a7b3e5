// The Go counterparts of micro.c, with the nearest thing the language has: goroutines, channels
// and package sync.  Same names, same counts, same output.  usage: micro_go NAME [COUNT]
package main

import (
	"fmt"
	"os"
	"runtime"
	"sort"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const many = 8

func cpuNow() int64 {
	var used syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &used)
	return used.Utime.Nano() + used.Stime.Nano()
}

func measure(name string, operations int, body func()) {
	wall, cpu := time.Now(), cpuNow()
	body()
	n := float64(operations)
	fmt.Printf("%s %.1f %.1f\n", name, float64(time.Since(wall).Nanoseconds())/n, float64(cpuNow()-cpu)/n)
}

func together(body func(mine int)) {
	var group sync.WaitGroup
	for i := 0; i < many; i++ {
		group.Add(1)
		go func(mine int) {
			defer group.Done()
			body(mine)
		}(i)
	}
	group.Wait()
}

func create(count int) {
	measure("create", count, func() {
		for i := 0; i < count; i++ {
			done := make(chan int)
			go func(value int) { done <- value }(i)
			if <-done != i {
				panic("join")
			}
		}
	})
}

func burst(count int) {
	measure("burst", count, func() {
		var group sync.WaitGroup
		group.Add(count)
		for i := 0; i < count; i++ {
			go group.Done()
		}
		group.Wait()
	})
}

func condpp(count int) {
	var lock sync.Mutex
	changed, turn := sync.NewCond(&lock), 0
	side := func(mine int, group *sync.WaitGroup) {
		lock.Lock()
		for i := 0; i < count; i++ {
			for turn != mine {
				changed.Wait()
			}
			turn = 1 - mine
			changed.Signal()
		}
		lock.Unlock()
		group.Done()
	}
	measure("condpp", 2*count, func() {
		var group sync.WaitGroup
		group.Add(2)
		go side(0, &group)
		go side(1, &group)
		group.Wait()
	})
}

func sempp(count int) {
	there, back := make(chan struct{}, 1), make(chan struct{}, 1)
	measure("sempp", 2*count, func() {
		done := make(chan struct{})
		go func() {
			for i := 0; i < count; i++ {
				<-there
				back <- struct{}{}
			}
			close(done)
		}()
		for i := 0; i < count; i++ {
			there <- struct{}{}
			<-back
		}
		<-done
	})
}

func mutex1(count int) {
	var lock sync.Mutex
	counter := 0
	measure("mutex1", count, func() {
		for i := 0; i < count; i++ {
			lock.Lock()
			counter++
			lock.Unlock()
		}
	})
}

func mutex8(count int) {
	var lock sync.Mutex
	counter := 0
	measure("mutex8", many*count, func() {
		together(func(int) {
			for i := 0; i < count; i++ {
				lock.Lock()
				counter++
				lock.Unlock()
			}
		})
	})
	if counter != many*count {
		panic("count")
	}
}

func yield8(count int) {
	measure("yield8", many*count, func() {
		together(func(int) {
			for i := 0; i < count; i++ {
				runtime.Gosched()
			}
		})
	})
}

func ring8(count int) {
	var lock sync.Mutex
	var place [many]*sync.Cond
	for i := range place {
		place[i] = sync.NewCond(&lock)
	}
	token := 0
	measure("ring8", many*count, func() {
		together(func(mine int) {
			lock.Lock()
			for i := 0; i < count; i++ {
				for token != mine {
					place[mine].Wait()
				}
				token = (mine + 1) % many
				place[token].Signal()
			}
			lock.Unlock()
		})
	})
}

func rwlock8(count int) {
	var lock sync.RWMutex
	var guarded [2]int
	measure("rwlock8", many*count, func() {
		together(func(int) {
			for i := 0; i < count; i++ {
				if i&63 == 63 {
					lock.Lock()
					guarded[0]++
					guarded[1]++
					lock.Unlock()
					continue
				}
				lock.RLock()
				if guarded[0] != guarded[1] {
					panic("reader beside a writer")
				}
				lock.RUnlock()
			}
		})
	})
}

func field(path, name string) int {
	text, _ := os.ReadFile(path)
	for _, line := range strings.Split(string(text), "\n") {
		if strings.HasPrefix(line, name) {
			value, _ := strconv.Atoi(strings.Fields(line)[1])
			return value
		}
	}
	return 0
}

func alive(count int) {
	files := []string{"/proc/self/status", "/proc/self/status", "/proc/meminfo", "/proc/meminfo"}
	fields := []string{"VmRSS:", "VmPTE:", "KernelStack:", "Slab:"}
	names := []string{"rss", "pagetables", "kstack", "slab"}
	var before [4]int
	for i := range files {
		before[i] = field(files[i], fields[i])
	}
	var lock sync.Mutex
	var group sync.WaitGroup
	release, full, waiting, open := sync.NewCond(&lock), sync.NewCond(&lock), 0, false
	measure("alive-create", count, func() {
		group.Add(count)
		for i := 0; i < count; i++ {
			go func() {
				lock.Lock()
				waiting++
				if waiting == count {
					full.Signal()
				}
				for !open {
					release.Wait()
				}
				lock.Unlock()
				group.Done()
			}()
		}
		lock.Lock()
		for waiting < count {
			full.Wait()
		}
		lock.Unlock()
	})
	fmt.Printf("alive-reached %d\nalive-kernel-threads %d\n", count, field("/proc/self/status", "Threads:"))
	total := 0.0
	for i := range files {
		each := float64(field(files[i], fields[i])-before[i]) / float64(count)
		fmt.Printf("alive-kb-%s %.2f\n", names[i], each)
		total += each
	}
	fmt.Printf("alive-kb-total %.2f\n", total)
	measure("alive-release", count, func() {
		lock.Lock()
		open = true
		release.Broadcast()
		lock.Unlock()
		group.Wait()
	})
}

func sleeps(name string, pause time.Duration, count int) {
	late := make([]int, count)
	for i := range late {
		start := time.Now()
		time.Sleep(pause)
		late[i] = int(time.Since(start) - pause)
	}
	sort.Ints(late)
	fmt.Printf("%s-p50 %d\n%s-p99 %d\n%s-max %d\n", name, late[count/2], name, late[count*99/100],
		name, late[count-1])
}

func nanosleep(count int) {
	for _, us := range []int{50, 100, 250, 500, 1000} {
		sleeps(fmt.Sprintf("nanosleep%d", us), time.Duration(us)*time.Microsecond, count)
	}
}

func spin(loops *uint64) {
	for {
		*loops++
	}
}

func hog(count int) {
	var loops uint64
	go spin(&loops)
	start := time.Now()
	sleeps("hog-sleeper", time.Millisecond, count)
	fmt.Printf("hog-loop %.2f\n", float64(time.Since(start).Nanoseconds())/float64(loops+1))
}

func fileserve(count int) {
	file, err := os.CreateTemp("", "micro")
	if err != nil {
		panic(err)
	}
	os.Remove(file.Name())
	file.Write([]byte(strings.Repeat("x", 65536)))
	measure("fileserve", many*count, func() {
		together(func(int) {
			block := make([]byte, 4096)
			for i := 0; i < count; i++ {
				if n, _ := file.ReadAt(block, int64(i&15)*4096); n != 4096 || block[i&4095] != 'x' {
					panic("read")
				}
			}
		})
	})
}

func main() {
	benches := map[string]struct {
		count int
		run   func(int)
	}{
		"create": {20000, create}, "burst": {5000, burst}, "condpp": {100000, condpp},
		"sempp": {100000, sempp}, "mutex1": {20000000, mutex1}, "mutex8": {500000, mutex8},
		"yield8": {100000, yield8}, "ring8": {12500, ring8}, "rwlock8": {500000, rwlock8},
		"alive": {100000, alive}, "nanosleep": {400, nanosleep}, "hog": {300, hog},
		"fileserve": {50000, fileserve},
	}
	if len(os.Args) > 1 {
		if bench, known := benches[os.Args[1]]; known {
			count := bench.count
			if len(os.Args) > 2 {
				count, _ = strconv.Atoi(os.Args[2])
			}
			bench.run(count)
			return
		}
	}
	fmt.Fprintln(os.Stderr, "usage: micro_go NAME [COUNT]")
	os.Exit(2)
}
