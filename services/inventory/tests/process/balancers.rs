//! The load balancers' configurations in `deploy/`, before three nodes that run.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::network;
use crate::scratch::Scratch;
use crate::server::await_condition;

/// Where both listen, as they come.
const LISTEN: &str = "127.0.0.1:8080";

/// Each, and its words after the name of a file of configuration.
pub(crate) const BALANCERS: [&str; 2] = ["haproxy", "nginx"];

pub(crate) struct Balancer(Child);

impl Balancer {
    /// Starts one before the nodes at port 8080 of the first three machines.
    pub(crate) fn start(name: &str, scratch: &Scratch) -> Result<Balancer, String> {
        let file = if name == "haproxy" { "haproxy.cfg" } else { "nginx.conf" };
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy").join(file);
        let mut text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        for machine in 1..=3 {
            text = text.replace(&format!("127.0.0.1:808{machine}"), &format!("{}:8080", network::address(machine)));
        }
        let written = scratch.join(file);
        fs::write(&written, &text).expect("a file can be written");
        let mut command = Command::new(name);
        if name == "haproxy" {
            command.arg("-db").arg("-f").arg(&written);
        } else {
            // In a user namespace there is no other user than root, and its own folders are of no use.
            let folder = scratch.join("nginx");
            fs::create_dir_all(&folder).expect("a folder can be made");
            let with_paths = text.replace("access_log off;", "access_log off;\n    client_body_temp_path body;\n    proxy_temp_path proxy;\n    fastcgi_temp_path f;\n    uwsgi_temp_path u;\n    scgi_temp_path s;");
            fs::write(&written, with_paths).expect("a file can be written");
            command.arg("-p").arg(&folder).arg("-c").arg(&written).args(["-e", "stderr", "-g", "daemon off; user root; pid pid;"]);
        }
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::inherit()).spawn();
        let child = child.map_err(|error| format!("{name} cannot be started (deploy/install-balancers installs it): {error}"))?;
        let mut balancer = Balancer(child);
        await_condition("the balancer listens", || {
            let ended = balancer.0.try_wait().expect("a child can be asked");
            assert!(ended.is_none(), "{name} ended: {ended:?}; the reason is above");
            TcpStream::connect(Balancer::address()).is_ok()
        });
        Ok(balancer)
    }

    pub(crate) fn address() -> SocketAddr {
        LISTEN.parse().expect("it is an address")
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        // Its workers end with it on SIGTERM, and not on SIGKILL.
        let _ = Command::new("sh").arg("-c").arg(format!("kill -TERM {}", self.0.id())).status();
        let _ = self.0.wait();
    }
}
