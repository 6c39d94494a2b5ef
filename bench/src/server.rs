//! The server that is measured: this binary again, with the verb `serve`, as a process of its own.
//!
//! Keeps true that it does not outlive the benchmark, however that ends: it is killed by its id when it is dropped,
//! and it ends itself when the pipe to its standard input closes.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use crate::load::http1;

/// How long a server may take until it serves.
const START_TIME_MAX: Duration = Duration::from_secs(30);
/// Between two looks at whether it does.
const START_POLL: Duration = Duration::from_millis(20);
/// How long one question aside from the load may take.
const ASK_TIME_MAX: Duration = Duration::from_secs(30);

/// A running server.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
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
    /// Starts a server on `data` and waits until it is ready.
    ///
    /// # Errors
    /// A sentence.
    pub(crate) fn start(data: &Path) -> Result<Server, String> {
        let words = |what: &str, error: std::io::Error| format!("{what}: {error}");
        // Nobody else should take the port in the instant between; if somebody does, the server says so.
        let port = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let address = port.map_err(|error| words("cannot find a free port", error))?;
        let program = std::env::current_exe().map_err(|error| words("cannot find this program", error))?;
        let child = Command::new(program)
            .args(["serve", "--listen", &address.to_string(), "--data"])
            .arg(data)
            .env("ONEBOX_LOG_LEVEL", "warn")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .map_err(|error| words("cannot start the server", error))?;
        let mut server = Server { child, address };
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
