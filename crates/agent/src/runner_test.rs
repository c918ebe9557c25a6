//! What goes out on which stream and link.

use mesarch_agent_core::{ExecutorSpec, FrameworkSpec, MasterMessage, RunTask, TaskKey};
use mesarch_proto::mesos::v1::ExecutorId;
use mesarch_types::{ClusterId, Fence, LaunchId};

use super::*;
use crate::{
    Options, environment::Common, info::Identity, requests::REQUESTS_MAX, status::Renderer, tasks::Tasks,
};

const FENCE: Fence = Fence { cluster: ClusterId([1; 16]), incarnation: 1, term: 1 };

/// A runner that is driven step by step, as its loop would.
struct Driven {
    runner: Runner,
    /// Held open.
    _links: Vec<oneshot::Receiver<()>>,
    launches: u64,
    _dir: tempfile::TempDir,
}

impl Driven {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = Options { work_dir: dir.path().to_owned(), ..Options::default() };
        let identity = Identity::new(&options, "127.0.0.1:5051".parse().unwrap()).unwrap();
        let (sender, requests) = mpsc::channel(REQUESTS_MAX);
        let (checkpoint, records) = Checkpoint::open(dir.path()).unwrap();
        let clock = Clock::start();
        let (core, outputs) = core::Agent::recover(core::Config::default(), clock.now(), records);
        let common = Common {
            address: identity.address,
            pid: identity.pid(),
            recovery_timeout: Millis(1000),
            backoff_max: Millis(1000),
        };
        // No process is ever needed: the test speaks for the executor.
        let tasks = Tasks::default();
        let posix =
            Posix::new(dir.path().into(), "/no/such/program".into(), common, sender.clone(), tasks.clone());
        let renderer = Renderer { agent: None, ip: identity.address.ip() };
        let facts = Facts::new(dir.path().into(), Map::new(), clock.now().wall);
        let providers = Providers::new(core.durable(), sender.clone(), tasks.clone());
        let runner = Runner {
            core,
            providers,
            publishing: Publishing::default(),
            calls: Calls::default(),
            gone: Vec::new(),
            incarnation: None,
            requests_again: sender.clone(),
            tasks: tasks.clone(),
            speaker: Speaker { identity, nonce: checkpoint.nonce(), renderer },
            checkpoint: Some(checkpoint),
            clock,
            requests,
            streams: Streams::new(sender, tasks),
            posix,
            history: History::default(),
            facts: Arc::new(facts),
            link: None,
            decided: outputs.into_iter().map(Decided::early).collect(),
            detached: None,
        };
        Self { runner, _links: Vec::new(), launches: 0, _dir: dir }
    }

    fn link(&mut self, link: u64) -> mpsc::Receiver<FromAgent> {
        let ((sender, messages), (open, ended)) = (mpsc::channel(64), oneshot::channel());
        self.runner.take(Request::LinkOpened { link, master: "m:5050".into(), sender, open });
        self._links.push(ended);
        messages
    }

    fn hear(&mut self, link: u64, message: MasterMessage) {
        self.runner.take(Request::Input(Input::Master { link, fence: FENCE, message }));
    }

    /// A task of the executor `E`.
    fn launch(&mut self, link: u64, task: &str, refused: Option<&str>) {
        self.launches += 1;
        let executor = ExecutorInfo { executor_id: ExecutorId { value: "E".into() }, ..Default::default() };
        let info = TaskInfo { task_id: TaskId { value: task.into() }, ..Default::default() };
        let launch = LaunchId { index: self.launches, position: 0 };
        let framework = FrameworkSpec {
            id: "F".into(),
            info: Default::default(),
            checkpoint: true,
            partition_aware: true,
        };
        let run = RunTask {
            key: TaskKey { framework: "F".into(), task: task.into(), launch },
            info: info.encode_to_vec().into(),
            framework,
            executor: ExecutorSpec {
                id: "E".into(),
                info: executor.encode_to_vec().into(),
                command: false,
                shutdown_grace: Millis(1000),
            },
            converted: Default::default(),
            refused: refused.map(Arc::from),
        };
        self.hear(link, MasterMessage::RunTask(Box::new(run)));
    }

    fn subscribe(&mut self) -> EventStream {
        let (reply, mut answer) = oneshot::channel();
        let call = Box::new(Call {
            executor_id: ExecutorId { value: "E".into() },
            framework_id: FrameworkId { value: "F".into() },
            r#type: Some(call::Type::Subscribe as i32),
            subscribe: Some(Default::default()),
            ..Default::default()
        });
        self.runner.take(Request::Subscribe { call, content_type: ContentType::Protobuf, reply });
        answer.try_recv().unwrap().unwrap()
    }
}

/// The kinds of the events that were written so far, in order.
fn events(stream: &mut EventStream) -> Vec<event::Type> {
    let mut decoder = mesarch_mesos_v1::recordio::Decoder::default();
    let mut kinds = Vec::new();
    while let Ok(frame) = stream.frames.try_recv() {
        decoder.push(&frame);
        let record = decoder.next_record().unwrap().unwrap();
        kinds.push(mesarch_mesos_v1::decode::<Event>(ContentType::Protobuf, &record).unwrap().r#type());
    }
    kinds
}

fn messages(link: &mut mpsc::Receiver<FromAgent>) -> Vec<from_agent::Kind> {
    std::iter::from_fn(|| link.try_recv().ok()?.kind).collect()
}

#[tokio::test]
async fn nothing_of_an_older_stream_goes_out_on_a_new_one() {
    let mut driven = Driven::new();
    let _link = driven.link(1);
    driven.hear(1, MasterMessage::Attached("S1".into()));
    driven.launch(1, "t1", None);
    driven.runner.flush().await.unwrap();
    let mut first = driven.subscribe();
    driven.runner.flush().await.unwrap();
    assert_eq!(events(&mut first), [event::Type::Subscribed, event::Type::Launch]);
    // One batch: the launch is decided for the first stream, and then there is another one, whose executor does not
    // know the task.
    driven.launch(1, "t2", None);
    let mut second = driven.subscribe();
    driven.runner.flush().await.unwrap();
    assert_eq!(events(&mut second).first(), Some(&event::Type::Subscribed));
    assert_eq!(events(&mut first), []);
}

#[tokio::test]
async fn nothing_of_an_older_link_goes_out_before_the_new_one_s_hello() {
    let mut driven = Driven::new();
    let mut first = driven.link(1);
    driven.hear(1, MasterMessage::Attached("S1".into()));
    driven.runner.flush().await.unwrap();
    assert!(matches!(messages(&mut first)[..], [from_agent::Kind::Register(_)]));
    driven.launch(1, "t", Some("not implemented: this"));
    let mut second = driven.link(2);
    driven.runner.flush().await.unwrap();
    assert!(matches!(messages(&mut second)[..], [from_agent::Kind::Attach(_)]));
    driven.hear(2, MasterMessage::Attached("S1".into()));
    driven.runner.flush().await.unwrap();
    let told = messages(&mut second);
    assert!(told.iter().any(|kind| matches!(kind, from_agent::Kind::Updates(_))), "told again: {told:?}");
}
