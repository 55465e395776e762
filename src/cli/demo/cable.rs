//! The cable between the worker and RabbitMQ, which can be cut: what is connected is torn, and nobody gets through until it is mended.

use std::net::SocketAddr;

use anyhow::Context;
use reqwest::Url;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
};

pub struct Cable {
    /// The broker's address through it.
    pub url: String,
    cut: watch::Sender<bool>,
}

impl Cable {
    /// Lays one to the broker with this address. None if the broker is not spoken to in plain: its certificate names another place.
    ///
    /// # Errors
    /// If the address is none, or nothing can be listened on.
    pub async fn lay(url: &str) -> anyhow::Result<Option<Cable>> {
        let mut url = Url::parse(url).context("broker.url (AMQP_URL) is no address")?;
        if url.scheme() != "amqp" {
            return Ok(None);
        }
        let broker = (url.host_str().unwrap_or("localhost").to_owned(), url.port().unwrap_or(5672));
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
        let here = listener.local_addr()?;
        url.set_host(Some("127.0.0.1"))?;
        url.set_port(Some(here.port())).map_err(|()| anyhow::anyhow!("broker.url (AMQP_URL) takes no port"))?;
        let cut = watch::Sender::new(false);
        tokio::spawn(carry(listener, broker, cut.subscribe()));
        Ok(Some(Cable { url: url.to_string(), cut }))
    }

    pub fn cut(&self, is: bool) {
        self.cut.send_replace(is);
    }

    pub fn is_cut(&self) -> bool {
        *self.cut.borrow()
    }
}

/// Carries what comes in at `listener` to the broker, until the cable is gone.
async fn carry(listener: TcpListener, broker: (String, u16), cut: watch::Receiver<bool>) {
    while cut.has_changed().is_ok() {
        let Ok((mut near, _)) = listener.accept().await else { return };
        let (broker, mut cut) = (broker.clone(), cut.clone());
        tokio::spawn(async move {
            if *cut.borrow() {
                return;
            }
            let Ok(mut far) = TcpStream::connect((broker.0.as_str(), broker.1)).await else { return };
            let _ = (near.set_nodelay(true), far.set_nodelay(true));
            tokio::select! {
                _ = copy_bidirectional(&mut near, &mut far) => {}
                _ = cut.wait_for(|cut| *cut) => {}
            }
        });
    }
}
