//! Machines with a network between them that can be disturbed: namespaces on this machine, and `relay.py`, which passes packets on.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// Addresses set aside for measurements: no real network has them.
const NETWORK: &str = "198.18.77";

pub(crate) struct Network {
    relay: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Network {
    /// A network of so many machines and this one, or why there cannot be one.
    pub(crate) fn start(machines: usize) -> Result<Network, String> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/process/relay.py");
        let mut command = Command::new("python3");
        command.arg(script).args((1..=machines).map(|machine| format!("{}={}", name(machine), address(machine))));
        command.arg(format!("here={NETWORK}.200"));
        let mut relay = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .map_err(|error| format!("python3 cannot be started: {error}"))?;
        let (orders, answers) = (relay.stdin.take(), relay.stdout.take().expect("it is piped"));
        let mut network = Network { relay, orders, answers: BufReader::new(answers) };
        match network.answer() {
            Ok(()) => Ok(network),
            Err(_) => Err("a network of namespaces needs root, ip and /dev/net/tun; what is missing is said above".to_owned()),
        }
    }

    /// What is put before a command to run it on a machine.
    pub(crate) fn on(&self, machine: usize) -> [String; 4] {
        ["ip".to_owned(), "netns".to_owned(), "exec".to_owned(), format!("onebox-{}-{}", self.relay.id(), name(machine))]
    }

    /// What one says to the other is lost.
    pub(crate) fn cut(&mut self, from: usize, to: usize) {
        self.order(&format!("cut {} {}", name(from), name(to)));
    }

    /// What a machine sends or is sent takes so much longer.
    pub(crate) fn slow(&mut self, machine: usize, ms: u32) {
        self.order(&format!("slow {} {ms}", name(machine)));
    }

    /// So many of a hundred packets that a machine sends or is sent are lost.
    pub(crate) fn lossy(&mut self, machine: usize, percent: u32) {
        self.order(&format!("lossy {} {percent}", name(machine)));
    }

    pub(crate) fn heal(&mut self) {
        self.order("heal");
    }

    fn order(&mut self, order: &str) {
        writeln!(self.orders.as_ref().expect("it is there until the end"), "{order}").expect("the relay runs");
        self.answer().expect("the relay does what it is told");
    }

    fn answer(&mut self) -> Result<(), String> {
        let mut line = String::new();
        self.answers.read_line(&mut line).map_err(|error| error.to_string())?;
        if line == "ok\n" { Ok(()) } else { Err(line) }
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        // The end of its input is the end of the relay, which removes what it made.
        drop(self.orders.take());
        let _ = self.relay.wait();
    }
}

/// A machine's address. They are counted from 1.
pub(crate) fn address(machine: usize) -> String {
    format!("{NETWORK}.{machine}")
}

fn name(machine: usize) -> String {
    format!("n{machine}")
}
