//! The background work: what it goes on with, and what it reads for that.

use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::*;

/// A keeper at work.
struct Keeping {
    stop: oneshot::Sender<()>,
    keeping: JoinHandle<()>,
}

impl Keeping {
    fn start(world: &World) -> Self {
        let (stop, stopped) = oneshot::channel();
        let keeper = Keeper::new(&world.lifecycle, 4);
        Self { stop, keeping: tokio::spawn(keeper.run(async { drop(stopped.await) })) }
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        self.keeping.await.unwrap();
    }
}

impl World {
    async fn begin(&self, hostnames: impl Iterator<Item = String>) {
        for (number, hostname) in hostnames.enumerate() {
            let address = format!("192.168.1.{}", number + 1).parse().unwrap();
            self.lifecycle.create(&hostname, &[address], None).await.unwrap();
        }
    }

    /// Waits until so many servers have become ready.
    async fn are_ready(&self, count: usize) {
        let mut changes = self.lifecycle.changes();
        while self.inventory.written().iter().filter(|written| *written == "ready verify Done").count() < count {
            changes.next().await;
        }
    }
}

#[tokio::test]
async fn a_service_goes_on_with_everything_that_is_not_at_rest() {
    let world = World::new(FakeDns::default());
    world.begin((0..20).map(|number| format!("web-{number}.example.com"))).await;
    let keeping = Keeping::start(&world);

    world.are_ready(20).await;
    keeping.stop().await;

    assert_eq!(world.dns.stored().len(), 20);
    assert!(world.lifecycle.is_idle());
}

#[tokio::test]
async fn of_many_servers_only_those_that_changed_are_read() {
    let world = World::new(FakeDns::default());
    for number in 0..500 {
        let mut server = Server::new(format!("old-{number}.example.com").parse().unwrap(), Vec::new());
        server.state = State::Ready;
        world.inventory.insert(&server).await.unwrap();
    }
    let written_before = world.inventory.written().len();
    let keeping = Keeping::start(&world);
    while world.inventory.reads().0 == 0 {
        tokio::task::yield_now().await;
    }

    world.begin((0..50).map(|number| format!("new-{number}.example.com"))).await;
    world.are_ready(50).await;
    keeping.stop().await;

    let (whole, single) = world.inventory.reads();
    let writes = world.inventory.written().len() - written_before;
    assert_eq!(whole, 1, "at the start");
    // One for each write at most; and for each server, one when its work begins and one when it has ended.
    assert!(single <= writes + 2 * 50, "{single} servers were read after {writes} writes");
}

#[tokio::test]
async fn all_are_read_again_when_notices_may_have_been_missed() {
    let world = World::new(FakeDns::default());
    let keeping = Keeping::start(&world);
    while world.inventory.reads().0 == 0 {
        tokio::task::yield_now().await;
    }

    world.inventory.tell_of_anything();
    while world.inventory.reads().0 == 1 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    keeping.stop().await;

    assert_eq!(world.inventory.reads(), (2, 0));
}

#[tokio::test]
async fn a_server_that_somebody_else_works_on_is_left_to_them_and_taken_over_from_them() {
    let world = World::new(FakeDns::default());
    world.begin(["web-01.example.com".to_owned()].into_iter()).await;
    let server = world.lifecycle.find("web-01.example.com").await.unwrap().server;
    let theirs = world.inventory.claim(server.id).await.unwrap().unwrap();
    let keeping = Keeping::start(&world);

    // Something else happens, and is seen to.
    world.begin(["web-02.example.com".to_owned()].into_iter()).await;
    world.are_ready(1).await;
    assert_eq!(world.lifecycle.find("web-01.example.com").await.unwrap().server, server);

    drop(theirs);
    world.are_ready(2).await;
    keeping.stop().await;
}

#[tokio::test]
async fn a_server_that_cannot_be_read_keeps_no_other_from_being_gone_on_with_and_is_told_of() {
    let world = World::new(FakeDns::default());
    world.begin((1..=2).map(|number| format!("web-0{number}.example.com"))).await;
    let damaged = "web-01.example.com".parse().unwrap();
    world.inventory.set_unreadable(&damaged, true);
    let keeping = Keeping::start(&world);

    world.are_ready(1).await;
    let trouble = world.lifecycle.trouble().unwrap();
    assert!(trouble.contains("the value of web-01.example.com is no server"), "{trouble}");
    assert!(world.lifecycle.list().await.is_err(), "who needs all of them is told that they are not all");

    world.inventory.set_unreadable(&damaged, false);
    world.inventory.tell_of_anything();
    world.are_ready(2).await;
    keeping.stop().await;
    assert_eq!(world.lifecycle.trouble(), None);
}
