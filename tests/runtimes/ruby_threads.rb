# Ruby: threads, Queue, Mutex, ConditionVariable, Timeout, TCPServer, Open3, signals, fork.
require 'socket'
require 'timeout'
require 'open3'
require 'monitor'
$stdout.sync = true

total = 0
mutex = Mutex.new
threads = 60.times.map { |i| Thread.new { 100.times { mutex.synchronize { total += 1 } }; i } }
puts "threads #{threads.sum(&:value)} total #{total}"

jobs, results = SizedQueue.new(5), Queue.new
workers = 8.times.map { Thread.new { while (n = jobs.pop); results << n * n; end } }
400.times { |n| jobs << n + 1 }
8.times { jobs << nil }
workers.each(&:join)
puts "queue #{400.times.sum { results.pop }} #{results.empty?}"

ready, condition = false, ConditionVariable.new
waiter = Thread.new { mutex.synchronize { condition.wait(mutex) until ready; :woken } }
mutex.synchronize { ready = true; condition.broadcast }
puts "condition #{waiter.value}"
puts "timed wait #{mutex.synchronize { condition.wait(mutex, 0.01); :over }}"

begin
  Timeout.timeout(0.05) { sleep 30 }
rescue Timeout::Error
  puts 'timeout in sleep'
end
begin
  Timeout.timeout(0.05) { Queue.new.tap { |q| Thread.new { sleep }; q.pop } }
rescue Timeout::Error
  puts 'timeout in pop'
end
begin
  Timeout.timeout(0.05) { loop { Integer.sqrt(10**40) } }
rescue Timeout::Error
  puts 'timeout in a loop'
end

server = TCPServer.new('127.0.0.1', 0)
port = server.addr[1]
acceptor = Thread.new do
  30.times.map { Thread.new(server.accept) { |c| while (line = c.gets); c.puts line.upcase; end; c.close } }.each(&:join)
end
good = 30.times.map do |n|
  Thread.new do
    TCPSocket.open('127.0.0.1', port) { |s| 20.times.count { |i| s.puts "line #{n} #{i}"; s.gets == "LINE #{n} #{i}\n" } }
  end
end
puts "echo #{good.sum(&:value)}"
acceptor.join
begin
  Timeout.timeout(0.05) { server.accept }
rescue Timeout::Error
  puts 'timeout in accept'
end

blocked = Thread.new { server.accept rescue $!.class }
Thread.pass until blocked.stop?
server.close
puts "closed while accepting #{blocked.value}"
killed = Thread.new { begin; sleep; ensure; $cleaned = true; end }
Thread.pass until killed.stop?
killed.kill.join
puts "killed #{$cleaned} #{killed.alive?}"
raised = Thread.new { begin; sleep; rescue => e; e.message; end }
Thread.pass until raised.stop?
raised.raise 'from outside'
puts raised.value

outputs = 8.times.map { |n| Thread.new { Open3.capture2("read x; echo $x #{n}", stdin_data: "hi\n") } }
puts "open3 #{outputs.each_with_index.count { |t, n| t.value[0] == "hi #{n}\n" && t.value[1].success? }}"
got = Queue.new
trap('USR1') { got << :usr1 }
Thread.new { Process.kill('USR1', $$) }.join
puts "signal #{got.pop}"
pid = fork { exit!(Thread.new { 5 }.value) }
Process.wait(pid)
puts "fork #{$?.exitstatus}"
fibers = Enumerator.new { |y| 5.times { |i| y << i * i } }
puts "fibers #{10.times.map { Thread.new { fibers.lazy.map { |x| x + 1 }.to_a.sum } }.sum(&:value)}"
puts "local #{20.times.map { |i| Thread.new { Thread.current[:x] = i; Thread.pass; Thread.current[:x] == i } }.all?(&:value)}"
puts "alive #{Thread.list.size >= 1}"
