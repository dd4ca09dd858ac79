//! Duties that print much: one command on a host, signed in through its standard input, its output kept up to a bound.

use std::time::Duration;

use secrecy::ExposeSecret as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use super::{Fleet, out_of_time, ssh_trouble, unknown_host};
use crate::core::cluster::HostName;
use crate::core::script::Act;
use crate::core::trouble::{Kind, Trouble};
use crate::core::wire;
use crate::io::context::Errands;

/// What a command printed.
#[derive(Debug)]
pub struct Printed {
    /// Its output, from its beginning.
    pub bytes: Vec<u8>,
    /// Whether there was more than was kept.
    pub is_cut: bool,
}

impl Fleet {
    /// Performs the only command of a duty, which changes nothing and signs in as the replication account by the options
    /// on its standard input; keeps at most `most` bytes of what it prints. Cut or late, it is ended on the host.
    ///
    /// # Errors
    /// The host cannot be reached over SSH, the duty is of another form, or its command failed or was too slow.
    pub async fn print(
        &self,
        host: &HostName,
        duty: &str,
        errand: &Errands<'_>,
        within: Duration,
        most: usize,
    ) -> Result<Printed, Trouble> {
        let script = self.ready(host, duty, errand, within).await?;
        let command = match script.steps.as_slice() {
            [step] => match &step.act {
                Act::Perform(command) => Some(command.wire()),
                _ => None,
            },
            _ => None,
        };
        let command = command.ok_or_else(|| {
            Trouble::new(
                Kind::Usage,
                format!("duty `{duty}` cannot be used"),
                "it must have one step, and that a command",
            )
        })?;
        let login = &self
            .logins(host)
            .ok_or_else(|| unknown_host(self.entry(), host))?
            .replication;
        let options = wire::login_options(&login.user, login.password.expose_secret());
        match timeout(within, self.read_all(host, &command, &options, most)).await {
            Ok(printed) => printed,
            Err(_) => Err(out_of_time(host, within)),
        }
    }

    async fn read_all(
        &self,
        host: &HostName,
        command: &str,
        options: &str,
        most: usize,
    ) -> Result<Printed, Trouble> {
        let refused = |error: &crate::io::ssh::SshError| ssh_trouble(error);
        let failed =
            |because: String| Trouble::new(Kind::Wrong, format!("the command on `{host}` failed"), because);
        let link = self.connect(host).await.map_err(|error| refused(&error))?;
        let mut stream = link.stream(command).await.map_err(|error| refused(&error))?;
        let fed = async {
            stream.write_all(options.as_bytes()).await?;
            stream.shutdown().await
        };
        fed.await.map_err(|error| failed(error.to_string()))?;
        let mut bytes = Vec::new();
        let mut part = vec![0; 64 * 1024];
        loop {
            let read = stream
                .read(&mut part)
                .await
                .map_err(|error| failed(error.to_string()))?;
            if read == 0 {
                break;
            }
            let room = most - bytes.len();
            bytes.extend_from_slice(&part[..read.min(room)]);
            if read > room {
                return Ok(Printed { bytes, is_cut: true });
            }
        }
        // Its end is told a moment after its last output.
        let status = loop {
            match stream.status() {
                Some(status) => break status.map_err(|error| refused(&error))?,
                None => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        };
        if !status.success() {
            let said = String::from_utf8_lossy(&stream.stderr()).trim().to_owned();
            return Err(failed(format!("{status}: {said}")));
        }
        Ok(Printed { bytes, is_cut: false })
    }
}
