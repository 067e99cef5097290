//! The simulated network, with the server and the people.

use std::{cell::RefCell, rc::Rc, sync::Arc, thread, time::Duration};

use turmoil::{Builder, Sim};

use super::{
    life::{Life, Process},
    people::People,
    program,
    script::{Change, USUAL_LATENCY},
};
use crate::config::test_dir::TestDir;

/// The server's host name.
pub(super) const SERVER: &str = "aldis.test";
/// The default port of `http`.
pub(super) const PORT: u16 = 80;
/// The step of the simulated time.
pub(super) const STEP: Duration = Duration::from_millis(5);
/// How much faster than real time the simulated time may run while the database works.
pub(super) const FASTER: u32 = 5;
/// Far beyond the end of the simulation.
const NEVER: Duration = Duration::from_secs(24 * 60 * 60);

/// A network that advances in [steps](Network::step).
pub(super) struct Network {
    sim: Sim<'static>,
    people: Arc<People>,
    /// The process that the server's host runs at its next start.
    next: Rc<RefCell<Option<Process>>>,
    life: Option<Life>,
    directory: TestDir,
    resume_window: Duration,
}

impl Network {
    /// Starts all people.
    pub(super) fn new(seed: u64, resume_window: Duration, people: Arc<People>) -> Self {
        let mut sim = Builder::new()
            .rng_seed(seed)
            .simulation_duration(NEVER)
            .tick_duration(STEP)
            .min_message_latency(Duration::from_millis(1))
            .max_message_latency(USUAL_LATENCY)
            .enable_random_order()
            .build();
        let directory = TestDir::new();
        let life = Life::begin(directory.path(), resume_window);
        let next = Rc::new(RefCell::new(Some(life.process())));
        let process = Rc::clone(&next);
        sim.host(SERVER, move || {
            let process = process.borrow_mut().take().expect("a life that was begun");
            process.run()
        });
        for me in 0..people.all().len() {
            let everybody = Arc::clone(&people);
            sim.host(people.of(me).name(), move || program::run(Arc::clone(&everybody), me));
        }
        Self { sim, people, next, life: Some(life), directory, resume_window }
    }

    /// The elapsed simulated time.
    pub(super) fn elapsed(&self) -> Duration {
        self.sim.elapsed()
    }

    /// Runs everything for one [`STEP`].
    ///
    /// The database works in real time. Meanwhile the simulated time runs at most [`FASTER`] times as fast; otherwise
    /// every answer of the database would come too late.
    pub(super) fn step(&mut self) {
        self.sim.step().expect("no program fails");
        if self.life.as_ref().is_some_and(Life::waits_for_database) {
            thread::sleep(STEP / FASTER);
        }
    }

    /// Carries out a fault or a recovery.
    pub(super) fn change(&mut self, change: Change) {
        let people = Arc::clone(&self.people);
        let name = |person| people.of(person).name();
        match change {
            Change::Cut(person) => self.sim.partition(name(person), SERVER),
            Change::Mend(person) => self.sim.repair(name(person), SERVER),
            Change::CutUp(person) => self.sim.partition_oneway(name(person), SERVER),
            Change::MendUp(person) => self.sim.repair_oneway(name(person), SERVER),
            Change::CutDown(person) => self.sim.partition_oneway(SERVER, name(person)),
            Change::MendDown(person) => self.sim.repair_oneway(SERVER, name(person)),
            Change::Hold(person) => self.sim.hold(name(person), SERVER),
            Change::Release(person) => self.sim.release(name(person), SERVER),
            Change::Latency(person, most) => {
                self.sim.set_link_max_message_latency(name(person), SERVER, most);
            }
            Change::Break(person) => people.of(person).break_line(),
            Change::Crash => self.crash(),
            Change::Stop => self.life.iter().for_each(Life::stop),
            Change::Start => self.start(),
            Change::Kill(person) => self.sim.crash(name(person)),
            Change::Revive(person) => self.sim.bounce(name(person)),
        }
    }

    fn crash(&mut self) {
        self.sim.crash(SERVER);
        self.life = None;
    }

    /// A server that was told to stop and has not ended is killed first, as an operator would do.
    fn start(&mut self) {
        self.crash();
        let life = Life::begin(self.directory.path(), self.resume_window);
        self.next.replace(Some(life.process()));
        self.life = Some(life);
        self.sim.bounce(SERVER);
    }
}
