//! The server that is measured: this binary again, with the verb `serve`, as a process of its own.
//!
//! Keeps true that it does not outlive the benchmark, however that ends: it is killed by its id when it is dropped,
//! and it ends itself when the pipe to its standard input closes.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use onebox_node::Settings;
use onebox_node::operate;
use onebox_service::Service;

use crate::load::http1;

/// How long a server may take until it serves.
const START_TIME_MAX: Duration = Duration::from_secs(30);
/// Between two looks at whether it does.
const START_POLL: Duration = Duration::from_millis(20);
/// How long one question aside from the load may take.
const ASK_TIME_MAX: Duration = Duration::from_secs(30);

/// A running server, and the other nodes of its cluster if it has any.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    others: Vec<Server>,
}

/// The verb `serve`: the inventory service's own binary, whose command line it takes.
#[expect(clippy::disallowed_methods, reason = "a server whose starter is gone has nobody to finish for, and loses nothing by it")]
pub(crate) fn serve() -> ExitCode {
    std::thread::spawn(|| {
        // Nothing is ever sent; reading ends when the other end is gone, and then nobody needs this process.
        let _ = std::io::stdin().read(&mut [0]);
        std::process::exit(1);
    });
    onebox::main(inventory::Inventory)
}

impl Server {
    /// Starts a node, or so many as a cluster, in folders of `data`, and waits until all are ready and vote.
    ///
    /// # Errors
    /// A sentence.
    pub(crate) fn start(data: &Path, nodes: u8) -> Result<Server, String> {
        if nodes == 1 {
            return Server::start_one(data, &[]);
        }
        let peers = (0..nodes).map(|_| free_port().map(|address| address.to_string())).collect::<Result<Vec<String>, String>>()?;
        let start = |(number, peer): (usize, &String)| {
            let join = if number == 0 { "" } else { &peers[0] };
            Server::start_one(&data.join(format!("node-{number}")), &[("ONEBOX_PEER_LISTEN", peer), ("ONEBOX_JOIN", join)])
        };
        let mut servers = peers.iter().enumerate().map(start).collect::<Result<Vec<Server>, String>>()?;
        let until = Instant::now() + START_TIME_MAX;
        let (schema, settings) = (inventory::Inventory.schema(), Settings::default());
        while operate::status(schema, &settings, &peers[0], 0)?.voters.len() < servers.len() {
            if Instant::now() > until {
                return Err(format!("not every node votes after {START_TIME_MAX:?}"));
            }
            std::thread::sleep(START_POLL);
        }
        let others = servers.split_off(1);
        let mut first = servers.pop().expect("there is a node");
        first.others = others;
        Ok(first)
    }

    fn start_one(data: &Path, settings: &[(&str, &str)]) -> Result<Server, String> {
        let words = |what: &str, error: std::io::Error| format!("{what}: {error}");
        let address = free_port()?;
        let program = std::env::current_exe().map_err(|error| words("cannot find this program", error))?;
        let child = Command::new(program)
            .args(["serve", "--listen", &address.to_string(), "--data"])
            .arg(data)
            .env("ONEBOX_LOG_LEVEL", "warn")
            .envs(settings.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .map_err(|error| words("cannot start the server", error))?;
        let mut server = Server { child, address, others: Vec::new() };
        let until = Instant::now() + START_TIME_MAX;
        loop {
            if matches!(server.ask(&http1::request("GET", "/health/ready", None)), Ok((200, _))) {
                return Ok(server);
            }
            if let Ok(Some(status)) = server.child.try_wait() {
                return Err(format!("the server ended at once: {status}"));
            }
            if Instant::now() > until {
                return Err(format!("the server was not ready after {START_TIME_MAX:?}"));
            }
            std::thread::sleep(START_POLL);
        }
    }

    /// The process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends one HTTP/1.1 request on a connection of its own. Gives the status and the body.
    ///
    /// # Errors
    /// A sentence.
    pub(crate) fn ask(&self, request: &[u8]) -> Result<(u16, Vec<u8>), String> {
        let words = |error: std::io::Error| format!("cannot ask {}: {error}", self.address);
        let mut stream = TcpStream::connect(self.address).map_err(words)?;
        stream.set_read_timeout(Some(ASK_TIME_MAX)).map_err(words)?;
        stream.write_all(request).map_err(words)?;
        let (mut arrived, mut piece) = (Vec::new(), [0; 4096]);
        loop {
            match stream.read(&mut piece).map_err(words)? {
                0 => return Err("the server closed the connection".to_owned()),
                length => arrived.extend_from_slice(&piece[..length]),
            }
            if let Some((status, body)) = http1::whole(&arrived)? {
                return Ok((status, arrived[body].to_vec()));
            }
        }
    }
}

/// Nobody else should take the port in the instant between; if somebody does, the server says so.
fn free_port() -> Result<SocketAddr, String> {
    let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    port.map_err(|error| format!("cannot find a free port: {error}"))
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already; either way it is gone after this.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A new folder that is removed when it is dropped.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    /// Makes a folder of this process under `above`.
    ///
    /// # Errors
    /// A sentence.
    pub(crate) fn under(above: &Path) -> Result<Scratch, String> {
        let path = above.join(format!("onebox-bench-{}", std::process::id()));
        let made = std::fs::create_dir_all(above).and_then(|()| std::fs::create_dir(&path));
        made.map_err(|error| format!("cannot make {}: {error}", path.display()))?;
        Ok(Scratch(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed stays for its owner to see; the figures are right all the same.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
