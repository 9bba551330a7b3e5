# Perl ithreads: cloned interpreters, shared variables, queues, semaphores, joins, signals, fork.
use strict;
use warnings;
use threads;
use threads::shared;
use Thread::Queue;
use Thread::Semaphore;
use IO::Socket::INET;
use POSIX ();
$| = 1;

my $total : shared = 0;
my @workers = map {
    threads->create(sub { for (1 .. 100) { lock $total; $total++ } return $_[0] * 2 }, $_)
} 1 .. 16;
my $sum = 0;
$sum += $_->join for @workers;
print "shared $total joined $sum\n";

my ($jobs, $results) = (Thread::Queue->new, Thread::Queue->new);
my @pool = map {
    threads->create(sub { while (defined(my $n = $jobs->dequeue)) { $results->enqueue($n * $n) } })
} 1 .. 6;
$jobs->enqueue($_) for 1 .. 300;
$jobs->end;
$_->join for @pool;
$sum = 0;
$sum += $results->dequeue for 1 .. 300;
print "queue $sum pending ", $results->pending, "\n";

my $signal : shared = 0;
my $waiter = threads->create(sub { lock $signal; cond_wait($signal) until $signal; return "woken $signal" });
{ lock $signal; $signal = 5; cond_broadcast($signal) }
print $waiter->join, "\n";
{ lock $signal; print "timed wait ", (cond_timedwait($signal, time) ? 1 : 0), "\n" }

my $semaphore = Thread::Semaphore->new(0);
my @posters = map { threads->create(sub { $semaphore->up }) } 1 .. 10;
$semaphore->down(10);
$_->join for @posters;
print "semaphore\n";

my $died = threads->create({ context => 'list' }, sub { $SIG{__WARN__} = sub { }; die "oops\n" });
$died->join;
print "error ", $died->error;
my $has_handler = Thread::Semaphore->new(0);
my $killed = threads->create(sub {
    $SIG{KILL} = sub { threads->exit(0) };
    $has_handler->up;
    select undef, undef, undef, 0.01 while 1;
});
$has_handler->down;
$killed->kill('KILL');
$killed->join;
print "killed ", scalar(threads->list), "\n";

my $listener = IO::Socket::INET->new(Listen => 20, LocalAddr => '127.0.0.1') or die;
my $port = $listener->sockport;
my $server = threads->create(sub {
    my @handlers;
    for (1 .. 10) {
        my $client = $listener->accept or die;
        push @handlers, threads->create(sub { while (my $line = <$client>) { print $client uc $line } close $client });
        close $client;
    }
    $_->join for @handlers;
    return scalar @handlers;
});
my @clients = map {
    threads->create(sub {
        my $socket = IO::Socket::INET->new(PeerAddr => "127.0.0.1:$port") or die;
        my $good = 0;
        for my $n (1 .. 20) { print $socket "line $n\n"; $good++ if <$socket> eq "LINE $n\n" }
        return $good;
    })
} 1 .. 10;
$sum = 0;
$sum += $_->join for @clients;
print "echo $sum handlers ", $server->join, "\n";

my $child = fork;
if (!$child) { threads->create(sub { 1 })->join; POSIX::_exit(7) }
waitpid $child, 0;
print "fork ", $? >> 8, "\n";
my $output = threads->create(sub { return `echo from a thread` })->join;
print "backticks $output";
