//! The server as a process: started, heard, signalled, and ended with the test that started it, also when that fails.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::client::{Ask, Connection, text};

/// Longer than any step of a server takes, also on a busy machine; a test that waits for so long has failed.
const WAIT_MAX: Duration = Duration::from_secs(120);
/// Between two looks at something that no other thread can announce.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// A server that has been started.
pub(crate) struct Server {
    child: Child,
    log: Arc<Log>,
    /// Where it listens, once it does.
    address: Option<SocketAddr>,
    /// From the start of the process to its being ready.
    pub(crate) ready_after: Duration,
}

/// What a process has written so far.
#[derive(Default)]
struct Log {
    written: Mutex<Written>,
    changed: Condvar,
}

#[derive(Default)]
struct Written {
    lines: Vec<String>,
    ended: bool,
}

impl Server {
    /// Starts a server on a port of its own and waits until it is ready.
    pub(crate) fn start(data: &Path, settings: &[(&str, &str)]) -> Server {
        let started = Instant::now();
        let mut server = Server::spawn(data, "127.0.0.1:0", settings);
        server.await_ready();
        server.ready_after = started.elapsed();
        server
    }

    /// Starts a server and waits for nothing.
    pub(crate) fn spawn(data: &Path, listen: &str, settings: &[(&str, &str)]) -> Server {
        let mut command = command(settings);
        command.arg("serve").arg("--data").arg(data).args(["--listen", listen]);
        Server::run(command)
    }

    /// Starts a server with a command line of its own, and waits until it listens.
    pub(crate) fn run_until_it_listens(command: Command) -> Server {
        let server = Server::run(command);
        assert!(server.await_address().is_some(), "the node does not say where it listens:\n{}", server.log());
        server
    }

    /// The same, and waits for nothing.
    pub(crate) fn run(mut command: Command) -> Server {
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("the binary can be started");
        let log = Arc::new(Log::default());
        let lines = BufReader::new(child.stderr.take().expect("standard error is piped"));
        thread::spawn({
            let log = Arc::clone(&log);
            move || log.follow(lines)
        });
        Server { child, log, address: None, ready_after: Duration::ZERO }
    }

    fn await_ready(&mut self) {
        self.address = self.await_address();
        assert!(self.address.is_some(), "the server does not say where it listens:\n{}", self.log());
        let ready = self.log.await_line(|line| line.contains("ready: everything in the log is applied"));
        assert!(ready.is_some(), "the server did not become ready:\n{}", self.log());
    }

    /// Where it listens; `None` if it ends without saying.
    pub(crate) fn await_address(&self) -> Option<SocketAddr> {
        self.log.await_line(|line| line.contains("serving "))?;
        self.last_address("serving ")
    }

    /// Starts a node of a cluster, and waits until it listens. It may start again by itself, and listens elsewhere then.
    pub(crate) fn start_node(data: &Path, settings: &[(&str, &str)]) -> Server {
        let mut command = command(settings);
        command.arg("serve").arg("--data").arg(data).args(["--listen", "127.0.0.1:0"]);
        Server::run_until_it_listens(command)
    }

    /// Whether it says that it takes requests.
    pub(crate) fn is_ready(&self) -> bool {
        Connection::open(self.address())
            .and_then(|mut connection| connection.send(&Ask::get("/health/ready")))
            .is_ok_and(|reply| reply.status == 200)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address.or_else(|| self.last_address("serving ")).expect("the server was waited for")
    }

    /// Where other nodes reach it.
    pub(crate) fn peer_address(&self) -> SocketAddr {
        self.last_address("other nodes reach this one here").expect("it is a node of a cluster")
    }

    /// The address in the last line that contains `words`.
    fn last_address(&self, words: &str) -> Option<SocketAddr> {
        let written = self.log.written.lock().expect("no reader panics");
        let line = written.lines.iter().rfind(|line| line.contains(words) && line.contains("\"address\""))?;
        text(&serde_json::from_str::<Value>(line).ok()?["address"]).parse().ok()
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn connect(&self) -> Connection {
        Connection::open(self.address()).expect("a server that is ready takes connections")
    }

    /// Everything it has written to standard error so far.
    pub(crate) fn log(&self) -> String {
        self.log.written.lock().expect("no reader panics").lines.join("\n")
    }

    /// Waits for a line that contains `words`.
    pub(crate) fn await_line(&self, words: &str) -> String {
        let line = self.log.await_line(|line| line.contains(words));
        line.unwrap_or_else(|| panic!("the server did not say {words:?}:\n{}", self.log()))
    }

    /// SIGKILL, and the end of the process.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("a child can be killed");
        self.child.wait().expect("a child can be waited for");
    }

    /// SIGTERM.
    pub(crate) fn terminate(&self) {
        self.signal("TERM");
    }

    pub(crate) fn signal(&self, name: &str) {
        // The shell's own `kill` is everywhere, and no unsafe code is needed here for a system call.
        let kill = Command::new("sh").arg("-c").arg(format!("kill -{name} {}", self.pid())).status();
        assert!(kill.expect("sh can be started").success(), "SIG{name} could not be sent");
    }

    /// SIGTERM, and an exit with code 0.
    pub(crate) fn stop(self) {
        self.terminate();
        let (code, log) = self.exit();
        assert_eq!(code, Some(0), "{log}");
    }

    /// Waits for the process to end by itself. Gives its exit code and all it wrote to standard error.
    pub(crate) fn exit(mut self) -> (Option<i32>, String) {
        let mut status: Option<ExitStatus> = None;
        await_condition("the process ends", || {
            status = self.child.try_wait().expect("a child can be asked");
            status.is_some()
        });
        self.log.await_end();
        (status.and_then(|status| status.code()), self.log())
    }

    /// A line of `/proc/PID/status` that counts KiB, in bytes: `VmHWM` is the most that was ever resident, `VmRSS` what is now.
    pub(crate) fn memory(&self, line: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("a running process has a status");
        let value = status.lines().find_map(|found| found.strip_prefix(line)?.strip_prefix(':'));
        let value = value.and_then(|value| value.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        value.unwrap_or_else(|| panic!("no {line} in {status}")) * 1024
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already; then there is nothing to end.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("what the server of the failed test said:\n{}", self.log());
        }
    }
}

impl Log {
    fn follow(&self, lines: impl BufRead) {
        for line in lines.lines() {
            let line = line.unwrap_or_else(|error| format!("(a line that cannot be read: {error})"));
            self.written.lock().expect("no reader panics").lines.push(line);
            self.changed.notify_all();
        }
        self.written.lock().expect("no reader panics").ended = true;
        self.changed.notify_all();
    }

    /// The first line that fits; `None` once the process has closed its standard error without one, or after too long.
    fn await_line(&self, fits: impl Fn(&str) -> bool) -> Option<String> {
        let written = self.written.lock().expect("no reader panics");
        let search = |written: &Written| written.lines.iter().find(|line| fits(line)).cloned();
        let waits = |written: &mut Written| search(written).is_none() && !written.ended;
        let (written, _) = self.changed.wait_timeout_while(written, WAIT_MAX, waits).expect("no reader panics");
        search(&written)
    }

    fn await_end(&self) {
        let written = self.written.lock().expect("no reader panics");
        let waited = self.changed.wait_timeout_while(written, WAIT_MAX, |written| !written.ended);
        drop(waited.expect("no reader panics"));
    }
}

/// The binary with these settings and no others, whatever the environment of the test holds.
pub(crate) fn command(settings: &[(&str, &str)]) -> Command {
    command_after(&[], settings)
}

/// The same, with a command line before it that runs it somewhere else.
pub(crate) fn command_after(before: &[String], settings: &[(&str, &str)]) -> Command {
    command_of(before, env!("CARGO_BIN_EXE_inventory"), settings)
}

/// The same, of another build.
pub(crate) fn command_of(before: &[String], binary: &str, settings: &[(&str, &str)]) -> Command {
    let words = before.iter().map(String::as_str).chain([binary]).collect::<Vec<_>>();
    let mut command = Command::new(words[0]);
    command.args(&words[1..]);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("ONEBOX_") {
            command.env_remove(name);
        }
    }
    command.envs(settings.iter().copied());
    command
}

/// Waits until something holds, which must happen.
pub(crate) fn await_condition(what: &str, holds: impl FnMut() -> bool) {
    await_condition_within(WAIT_MAX, what, holds);
}

/// The same, of what takes longer.
pub(crate) fn await_condition_within(longest: Duration, what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < longest, "waited {longest:?} in vain until {what}");
        thread::sleep(LOOK_EVERY);
    }
}
