//! A master on a free port, and the two sides that talk to it.

use std::net::SocketAddr;

use mezzo_http::{Bytes, Client, ClientResponse, HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use mezzo_master_daemon::{Config, RegistryKind, run};
use tokio::{sync::oneshot, task::JoinHandle};

/// Runs until dropped or stopped.
pub(crate) struct Master {
    pub(crate) address: SocketAddr,
    pub(crate) client: Client,
    stop: Option<oneshot::Sender<()>>,
    ended: JoinHandle<anyhow::Result<()>>,
}

pub(crate) fn in_memory() -> Config {
    Config { listen: ([127, 0, 0, 1], 0).into(), registry: RegistryKind::InMemory, ..Config::default() }
}

impl Master {
    pub(crate) async fn start(config: Config) -> Self {
        let (stop, stopped) = oneshot::channel::<()>();
        let (ready, is_ready) = oneshot::channel();
        let ended = tokio::spawn(run(
            config,
            async {
                let _ = stopped.await;
            },
            move |address| {
                let _ = ready.send(address);
            },
        ));
        let address = is_ready.await.expect("the master starts");
        Self { address, client: Client::new(), stop: Some(stop), ended }
    }

    pub(crate) async fn stop(mut self) {
        drop(self.stop.take());
        self.ended.await.expect("no panic").expect("an orderly end");
    }

    /// Sends a request and gives the head of the answer.
    pub(crate) async fn open(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> ClientResponse {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(HeaderName::try_from(*name).unwrap(), HeaderValue::from_str(value).unwrap());
        }
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let body = mezzo_http::Body::Full(Bytes::copy_from_slice(body));
        self.client.request(method, &self.address.to_string(), path, map, body).await.unwrap()
    }

    /// Sends a request and gives status and text of the answer.
    pub(crate) async fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> (StatusCode, String) {
        let answer = self.open(method, path, headers, body.as_bytes()).await;
        let status = answer.status;
        (status, String::from_utf8(answer.bytes(10 << 20).await.unwrap().to_vec()).unwrap())
    }

    /// A call in JSON.
    pub(crate) async fn call(&self, path: &str, body: &str) -> (StatusCode, String) {
        let json = "application/json";
        self.ask("POST", path, &[("content-type", json), ("accept", json)], body).await
    }

    pub(crate) async fn get(&self, path: &str) -> (StatusCode, String) {
        self.ask("GET", path, &[], "").await
    }
}
