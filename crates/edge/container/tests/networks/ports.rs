//! network/ports: listeners on ports that nobody gave them.

use std::{path::Path, time::Duration};

use mezzo_container::{ContainerEvent, Isolation, Limitation, PortSettings};

use super::{Agent, free_port, serve, shell};

fn watching(isolated: Option<Vec<(u16, u16)>>) -> Isolation {
    let ports = PortSettings { watch_interval: Duration::from_millis(50), enforce: true, isolated };
    Isolation { names: vec!["network/ports".to_owned()], ports, ..Isolation::default() }
}

pub(crate) fn who_listens_on_a_port_it_does_not_hold_is_ended(dir: &Path) {
    let port = free_port();
    let agent = Agent::isolated(dir, watching(None));
    let mut honest = shell(dir, "honest", &serve(port, "x"));
    honest.ports = vec![(port, port)];
    agent.containers.launch(&honest);
    agent.started();
    let other = free_port();
    // Also what is in a session of its own.
    let mut request = shell(dir, "c1", &format!("setsid busybox nc -l -p {other} & sleep 1000"));
    request.ports = vec![(port, port)];
    agent.containers.launch(&request);
    agent.started();
    let ContainerEvent::Exited { id, limitation, .. } = agent.next() else { panic!("an end") };
    let Some(Limitation::Ports { message, ports }) = limitation else { panic!("a limitation") };
    assert_eq!((id.as_str(), ports), ("c1", vec![other]));
    assert_eq!(message, format!("Container 'c1' listens on ports that it does not hold: {other}"));
    // A later agent knows what the first one holds, and goes on watching.
    drop(agent);
    let agent = Agent::isolated(dir, watching(None));
    std::thread::sleep(Duration::from_millis(300));
    assert!(agent.containers.pid(&"honest".into()).is_some(), "{:?}", agent.events.try_recv());
    agent.containers.hold_ports(&"honest".into(), &[]);
    let ContainerEvent::Exited { id, limitation, .. } = agent.next() else { panic!("an end") };
    assert_eq!(id.as_str(), "honest");
    assert!(matches!(limitation, Some(Limitation::Ports { .. })));
}

pub(crate) fn who_takes_datagrams_on_a_port_it_does_not_hold_is_ended(dir: &Path) {
    let agent = Agent::isolated(dir, watching(None));
    let datagrams = |what: &str| {
        format!("exec perl -e 'use Socket; socket(S, PF_INET, SOCK_DGRAM, 0); {what}; sleep 1000'")
    };
    // Whoever asks somebody has a port as well, which the kernel chose.
    let asks = datagrams("send(S, q(x), 0, sockaddr_in(9, INADDR_LOOPBACK))");
    agent.containers.launch(&shell(dir, "asks", &asks));
    agent.started();
    let answers = datagrams("bind(S, sockaddr_in(29353, INADDR_LOOPBACK)) or die");
    agent.containers.launch(&shell(dir, "c1", &answers));
    agent.started();
    let ContainerEvent::Exited { id, limitation, .. } = agent.next() else { panic!("an end") };
    let Some(Limitation::Ports { ports, .. }) = limitation else { panic!("a limitation") };
    assert_eq!((id.as_str(), ports), ("c1", vec![29_353]));
    std::thread::sleep(Duration::from_millis(300));
    assert!(agent.containers.pid(&"asks".into()).is_some(), "{:?}", agent.events.try_recv());
    agent.containers.destroy(&"asks".into()).expect("an order");
    assert_eq!(agent.exited(), Some(9));
}

pub(crate) fn ports_outside_of_the_isolated_range_are_not_looked_at(dir: &Path) {
    let port = free_port();
    let agent = Agent::isolated(dir, watching(Some(vec![(1, 1)])));
    agent.containers.launch(&shell(dir, "c1", &serve(port, "x")));
    agent.started();
    std::thread::sleep(Duration::from_millis(400));
    assert!(agent.containers.pid(&"c1".into()).is_some());
    agent.containers.destroy(&"c1".into()).expect("an order");
    assert_eq!(agent.exited(), Some(9));
}
