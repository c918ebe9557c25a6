//! Long answers, written piece by piece in either encoding: nothing larger than one list item is ever built as a
//! message.
//!
//! The bytes are those that [`encode`](crate::encode) gives for the whole message.

use mesarch_proto::required;
use prost::encoding::{WireType, encode_key};

use crate::{
    ApiMessage, ContentType, codec,
    encoder::{Encoder, with_length},
};

/// A field of a message, by its name in JSON and its number in protobuf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field(pub &'static str, pub u32);

/// The fields of one message, in the order in which they are written.
pub struct Fields<'a> {
    content_type: ContentType,
    out: &'a mut Vec<u8>,
    is_first: bool,
    pass: Pass<'a>,
}

/// Takes what there is of a long answer, and says whether anybody wants the rest.
pub type Pass<'a> = &'a mut dyn FnMut(&mut Vec<u8>) -> bool;

/// From so many bytes on they are passed on, if the encoding allows that.
const PASSED_BYTES_MIN: usize = 32 * 1024;

/// Writes one message.
pub fn message(content_type: ContentType, fields: impl FnOnce(&mut Fields<'_>)) -> Vec<u8> {
    let mut out = Vec::new();
    braced(content_type, &mut out, &mut |_| true, fields);
    out
}

/// Writes one message, and passes it on as it grows: JSON in the middle of lists, protobuf, in which a length comes before
/// what it is the length of, at the end. Once nobody wants the rest, what is written is not complete.
pub fn message_in_pieces(content_type: ContentType, pass: Pass<'_>, fields: impl FnOnce(&mut Fields<'_>)) {
    let mut out = Vec::new();
    braced(content_type, &mut out, pass, fields);
    pass(&mut out);
}

fn braced(
    content_type: ContentType,
    out: &mut Vec<u8>,
    pass: Pass<'_>,
    fields: impl FnOnce(&mut Fields<'_>),
) {
    let is_json = content_type == ContentType::Json;
    if is_json {
        out.push(b'{');
    }
    fields(&mut Fields { content_type, out: &mut *out, is_first: true, pass });
    if is_json {
        out.push(b'}');
    }
}

impl Fields<'_> {
    /// A value of an enum.
    pub fn symbol(&mut self, field: Field, name: &'static str, number: i32) {
        match self.content_type {
            ContentType::Json => {
                self.name(field);
                self.out.push(b'"');
                self.out.extend_from_slice(name.as_bytes());
                self.out.push(b'"');
            }
            ContentType::Protobuf => prost::encoding::int32::encode(field.1, &number, self.out),
        }
    }

    /// A number that needs no exponent: zero, or from 1e-5 to below 1e16 in size.
    pub fn double(&mut self, field: Field, value: f64) {
        match self.content_type {
            ContentType::Json => {
                self.name(field);
                self.out.extend_from_slice(format!("{value:?}").as_bytes());
            }
            ContentType::Protobuf => prost::encoding::double::encode(field.1, &value, self.out),
        }
    }

    /// A message that is written piece by piece.
    pub fn message(&mut self, field: Field, fields: impl FnOnce(&mut Fields<'_>)) {
        match self.content_type {
            ContentType::Json => {
                self.name(field);
                braced(ContentType::Json, self.out, self.pass, fields);
            }
            ContentType::Protobuf => {
                encode_key(field.1, WireType::LengthDelimited, self.out);
                with_length(self.out, |out| braced(ContentType::Protobuf, out, &mut |_| true, fields));
            }
        }
    }

    /// A list that JSON shows even if it is empty. Each item is made, written and dropped.
    pub fn list<T: ApiMessage>(&mut self, field: Field, items: impl IntoIterator<Item = T>) {
        self.each(field, items, |content_type, item, out| codec::append(content_type, &item, out));
    }

    /// The same of items that `encode` writes in protobuf, and that are never built as messages. One that is no message of
    /// this kind is shown as the empty one.
    pub fn encoded<T: ApiMessage, I>(
        &mut self,
        field: Field,
        items: impl IntoIterator<Item = I>,
        mut encode: impl FnMut(I, &mut Encoder<'_>),
    ) {
        let mut encoded = Vec::new();
        self.each(field, items, |content_type, item, out| match content_type {
            ContentType::Json => {
                encoded.clear();
                encode(item, &mut Encoder::new(&mut encoded));
                if T::write_json_of(&encoded, out).is_err() {
                    T::default().write_json(out);
                }
            }
            ContentType::Protobuf => {
                let start = out.len();
                encode(item, &mut Encoder::new(out));
                required::complete::<T>(out, start);
            }
        });
    }

    /// Items one by one, as `append` writes each in either encoding.
    fn each<I>(
        &mut self,
        field: Field,
        items: impl IntoIterator<Item = I>,
        mut append: impl FnMut(ContentType, I, &mut Vec<u8>),
    ) {
        match self.content_type {
            ContentType::Json => {
                self.name(field);
                self.out.push(b'[');
                for (place, item) in items.into_iter().enumerate() {
                    if place > 0 {
                        self.out.push(b',');
                    }
                    append(ContentType::Json, item, self.out);
                    if self.out.len() >= PASSED_BYTES_MIN && !(self.pass)(self.out) {
                        return;
                    }
                }
                self.out.push(b']');
            }
            ContentType::Protobuf => {
                for item in items {
                    encode_key(field.1, WireType::LengthDelimited, self.out);
                    with_length(self.out, |out| append(ContentType::Protobuf, item, out));
                }
            }
        }
    }

    fn name(&mut self, Field(name, _): Field) {
        if !std::mem::take(&mut self.is_first) {
            self.out.push(b',');
        }
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
    }
}

#[cfg(test)]
mod tests {
    use mesarch_proto::mesos::v1::{
        AgentId, ExecutorInfo, Task, TaskId,
        master::{Response, response},
        value::Scalar,
    };
    use prost::Message;

    use super::*;

    fn task(id: &str) -> Task {
        Task { name: "ä\n".into(), task_id: TaskId { value: id.into() }, ..Task::default() }
    }

    fn executor() -> response::get_executors::Executor {
        response::get_executors::Executor {
            executor_info: ExecutorInfo::default(),
            agent_id: AgentId { value: "S".repeat(200) },
        }
    }

    fn whole(tasks: usize) -> Response {
        let get_tasks = response::GetTasks {
            tasks: (0..tasks).map(|number| task(&number.to_string())).collect(),
            completed_tasks: vec![task("done")],
            ..Default::default()
        };
        let get_executors =
            response::GetExecutors { executors: vec![executor(); tasks], ..Default::default() };
        Response {
            r#type: Some(response::Type::GetState as i32),
            get_state: Some(response::GetState {
                get_tasks: Some(get_tasks),
                get_executors: Some(get_executors),
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    fn in_pieces(content_type: ContentType, tasks: usize) -> Vec<u8> {
        message(content_type, |answer| {
            answer.symbol(Field("type", 1), "GET_STATE", response::Type::GetState as i32);
            answer.message(Field("get_state", 9), |state| {
                state.message(Field("get_tasks", 1), |lists| {
                    lists.list(Field("tasks", 2), (0..tasks).map(|number| task(&number.to_string())));
                    lists.list(Field("unreachable_tasks", 5), [] as [Task; 0]);
                    lists.list(Field("completed_tasks", 3), [task("done")]);
                });
                state.message(Field("get_executors", 2), |lists| {
                    lists.list(Field("executors", 1), (0..tasks).map(|_| executor()));
                });
            });
        })
    }

    #[test]
    fn a_number_is_written_like_that_of_a_whole_message() {
        for value in [0.0, 15.0, 0.1, -2.5, 1e15] {
            for content_type in [ContentType::Json, ContentType::Protobuf] {
                let expect = crate::encode(content_type, &Scalar { value });
                let written = message(content_type, |scalar| scalar.double(Field("value", 1), value));
                assert_eq!(written, expect, "{value} {content_type:?}");
            }
        }
    }

    #[test]
    fn what_is_passed_on_is_the_whole_and_nothing_is_written_for_nobody() {
        for content_type in [ContentType::Json, ContentType::Protobuf] {
            let (mut passed, mut times) = (Vec::new(), 0);
            let list = |answer: &mut Fields<'_>| {
                answer.list(Field("tasks", 2), (0..5000).map(|number| task(&number.to_string())));
            };
            let mut pass = |out: &mut Vec<u8>| {
                passed.append(out);
                times += 1;
                true
            };
            message_in_pieces(content_type, &mut pass, list);
            assert_eq!(passed, message(content_type, list));
            assert_eq!(times > 1, content_type == ContentType::Json);
        }
        let mut made = 0;
        message_in_pieces(ContentType::Json, &mut |_| false, |answer| {
            let items = (0..100_000).map(|number| task(&number.to_string())).inspect(|_| made += 1);
            answer.list(Field("tasks", 2), items);
        });
        assert!((1..10_000).contains(&made), "{made}");
    }

    #[test]
    fn encoded_items_are_those_of_messages_zeros_in_maps_as_well() {
        let limited = Task {
            limits: [("cpus".to_owned(), Scalar { value: 0.0 }), ("mem".to_owned(), Scalar { value: 1.5 })]
                .into(),
            ..task("limited")
        };
        for content_type in [ContentType::Json, ContentType::Protobuf] {
            let tasks =
                response::GetTasks { tasks: vec![task("plain"), limited.clone()], ..Default::default() };
            let expect = crate::encode(
                content_type,
                &Response { get_tasks: Some(tasks.clone()), ..Default::default() },
            );
            for is_encoded in [false, true] {
                let got = message(content_type, |answer| {
                    answer.message(Field("get_tasks", 13), |lists| {
                        let field = Field("tasks", 2);
                        match is_encoded {
                            false => lists.list(field, tasks.tasks.clone()),
                            true => lists.encoded::<Task, _>(field, &tasks.tasks, |task, out| {
                                out.without(&task.encode_to_vec(), 0);
                            }),
                        }
                        lists.list(Field("unreachable_tasks", 5), [] as [Task; 0]);
                        lists.list(Field("completed_tasks", 3), [] as [Task; 0]);
                    });
                });
                assert_eq!(got.escape_ascii().to_string(), expect.escape_ascii().to_string());
            }
        }
    }

    #[test]
    fn pieces_are_the_whole_in_both_encodings() {
        for tasks in [0, 1, 2, 100] {
            for content_type in [ContentType::Json, ContentType::Protobuf] {
                let expect = crate::encode(content_type, &whole(tasks));
                assert_eq!(in_pieces(content_type, tasks), expect, "{tasks} tasks, {content_type:?}");
            }
        }
    }
}
