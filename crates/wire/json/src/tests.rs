use std::path::PathBuf;

use mezzo_mesos::v1;
use mezzo_mesos::v1::scheduler::Call;

use crate::{CHUNK_BYTES, Error, FromJson, ToJson, Writer, from_slice, list_from_slice, protobuf, to_vec};

fn text<T: ToJson>(message: &T) -> String {
    String::from_utf8(to_vec(message)).unwrap()
}

fn call_error(body: &str) -> String {
    from_slice::<Call>(body.as_bytes()).unwrap_err().call_text()
}

/// What comes out when `body` is read as `T` and written again.
fn again<T: FromJson + ToJson>(body: &str) -> String {
    text(&from_slice::<T>(body.as_bytes()).unwrap())
}

#[test]
fn rule_25_camel_case_names_are_unknown() {
    assert_eq!(
        again::<v1::Filters>(r#"{"refuseSeconds":7,"refuse_seconds":3}"#),
        r#"{"refuse_seconds":3.0}"#
    );
}

#[test]
fn rule_26_unknown_fields_are_skipped_and_null_is_absent() {
    let body = r#" { "x" : [ { "y" : [1, "a\u0041", true, null, -1.5e3 ] } ] , "value" : "r" , "z": {} } "#;
    assert_eq!(again::<v1::FrameworkId>(body), r#"{"value":"r"}"#);
    assert_eq!(again::<v1::Label>(r#"{"key":"k","value":null}"#), r#"{"key":"k"}"#);
    assert_eq!(again::<v1::Labels>(r#"{"labels":null}"#), "{}");
    assert_eq!(
        from_slice::<v1::FrameworkId>(br#"{"value":null}"#),
        Err(Error::Missing(vec!["value".to_owned()]))
    );
}

#[test]
fn rule_27_integers_are_numbers_out_and_numbers_or_strings_in() {
    for body in [r#"{"nanoseconds":9007199254740993}"#, r#"{"nanoseconds":"9007199254740993"}"#] {
        assert_eq!(again::<v1::TimeInfo>(body), r#"{"nanoseconds":9007199254740993}"#);
    }
    assert_eq!(again::<v1::TimeInfo>(r#"{"nanoseconds":-5}"#), r#"{"nanoseconds":-5}"#);
    assert_eq!(again::<v1::TimeInfo>(r#"{"nanoseconds":1.9e1}"#), r#"{"nanoseconds":19}"#);
    assert_eq!(again::<v1::value::Scalar>(r#"{"value":"2.5"}"#), r#"{"value":2.5}"#);
    assert_eq!(
        from_slice::<v1::TimeInfo>(br#"{"nanoseconds":"x"}"#).unwrap_err().to_string(),
        "Failed to parse 'x' as a JSON number for field 'nanoseconds'"
    );
    for body in [r#"{"nanoseconds":1e300}"#, r#"{"nanoseconds":9223372036854775808}"#] {
        assert!(matches!(from_slice::<v1::TimeInfo>(body.as_bytes()), Err(Error::Range { .. })));
    }
}

#[test]
fn rule_28_bytes_are_base64() {
    let body = r#"{"task_id":{"value":"t"},"state":"TASK_RUNNING","uuid":"AAECAw=="}"#;
    let status: v1::TaskStatus = from_slice(body.as_bytes()).unwrap();
    assert_eq!(status.uuid.as_deref(), Some(&[0, 1, 2, 3][..]));
    assert!(text(&status).contains(r#""uuid":"AAECAw==""#));
    assert_eq!(
        call_error(
            r#"{"type":"ACKNOWLEDGE","acknowledge":{"agent_id":{"value":"a"},"task_id":{"value":"t"},"uuid":"***"}}"#
        ),
        "Failed to convert JSON into Call protobuf: Failed to base64 decode bytes field 'uuid': Invalid character '*'"
    );
}

#[test]
fn rule_29_enums_are_names() {
    assert_eq!(
        call_error(r#"{"type":5}"#),
        "Failed to convert JSON into Call protobuf: Not expecting a JSON number for field 'type'"
    );
    assert_eq!(again::<Call>(r#"{"type":"NO_SUCH_CALL"}"#), "{}");
    assert_eq!(
        from_slice::<v1::TaskStatus>(br#"{"task_id":{"value":"t"},"state":"NOPE"}"#).unwrap_err().to_string(),
        "Failed to find enum for 'NOPE'"
    );
}

#[test]
fn rule_30_explicit_defaults_are_written_unless_deprecated() {
    let framework = v1::FrameworkInfo { user: "u".into(), name: "n".into(), ..Default::default() };
    assert_eq!(text(&framework), r#"{"user":"u","name":"n","failover_timeout":0.0,"checkpoint":false}"#);
    assert_eq!(text(&v1::Labels::default()), "{}");
    assert_eq!(
        text(&v1::TaskInfo::default()),
        r#"{"name":"","task_id":{"value":""},"agent_id":{"value":""}}"#
    );
}

#[test]
fn rule_31_keys_come_in_declaration_order() {
    let status = v1::TaskStatus {
        task_id: v1::TaskId { value: "t".into() },
        state: v1::TaskState::TaskRunning as i32,
        source: Some(v1::task_status::Source::Executor as i32),
        agent_id: Some(v1::AgentId { value: "a".into() }),
        message: Some("m".into()),
        timestamp: Some(1.5),
        ..Default::default()
    };
    assert_eq!(
        text(&status),
        r#"{"task_id":{"value":"t"},"state":"TASK_RUNNING","message":"m","source":"SOURCE_EXECUTOR","agent_id":{"value":"a"},"timestamp":1.5}"#
    );
}

#[test]
fn rule_32_a_single_value_stands_for_a_list_of_one() {
    let one = r#"{"labels":[{"key":"k"}]}"#;
    assert_eq!(again::<v1::Labels>(r#"{"labels":{"key":"k"}}"#), one);
    assert_eq!(again::<v1::Labels>(r#"{"labels":[[{"key":"k"}],[]]}"#), one);
    assert_eq!(again::<v1::value::Set>(r#"{"item":"x"}"#), r#"{"item":["x"]}"#);
    assert_eq!(
        from_slice::<v1::FrameworkId>(br#"{"value":["x"]}"#).unwrap_err().to_string(),
        "Not expecting a JSON array for field 'value'"
    );
}

#[test]
fn rule_33_missing_required_fields_are_listed_with_their_paths() {
    assert_eq!(
        call_error(r#"{"type":"SUBSCRIBE","subscribe":{"framework_info":{"user":"root"}}}"#),
        "Failed to convert JSON into Call protobuf: Missing required fields: subscribe.framework_info.name"
    );
    // Those of a message come before those of its children, and children by field number.
    assert_eq!(
        from_slice::<v1::TaskInfo>(br#"{"labels":{"labels":[{"key":"a"},{}]},"task_id":{},"name":"n"}"#),
        Err(Error::Missing(vec!["agent_id".into(), "task_id.value".into(), "labels.labels[1].key".into()]))
    );
    // A later value of the same key counts alone.
    assert_eq!(again::<v1::TaskGroupInfo>(r#"{"tasks":[{}],"tasks":[]}"#), "{}");
    assert!(
        from_slice::<v1::Offer>(br#"{"id":{},"id":{"value":"x"}}"#)
            .is_err_and(|e| !e.to_string().contains("id.value,"))
    );
}

#[test]
fn rule_33_protobuf_bodies_are_checked_too() {
    use prost::Message as _;
    let mut framework = v1::FrameworkInfo { user: "u".into(), name: "n".into(), ..Default::default() };
    framework.id = Some(v1::FrameworkId { value: "i".into() });
    let bytes = framework.encode_to_vec();
    assert_eq!(protobuf::decode::<v1::FrameworkInfo>(&bytes).as_ref(), Ok(&framework));
    // subscribe { framework_info { user: "u" } }
    let body = [0x10, 1, 0x1a, 5, 0x0a, 3, 0x0a, 1, b'u'];
    assert_eq!(
        protobuf::decode::<Call>(&body),
        Err(protobuf::Error::Missing("subscribe.framework_info.name".into()))
    );
    assert!(matches!(protobuf::decode::<Call>(&[0xff, 0xff, 0xff]), Err(protobuf::Error::Malformed(_))));
    let mut nested = Vec::new();
    for _ in 0..300 {
        // ContainerID.parent, field 2
        let mut outer = vec![0x0a, 1, b'x', 0x12];
        prost::encoding::encode_varint(nested.len() as u64, &mut outer);
        outer.extend_from_slice(&nested);
        nested = outer;
    }
    assert!(protobuf::decode::<v1::ContainerId>(&nested).is_err());
    assert!(protobuf::check_required::<v1::ContainerId>(&nested).is_err());
}

#[test]
fn rule_38_the_messages_whose_layout_is_not_that_of_v0_have_the_v1_layout() {
    use prost::Message as _;
    // suppressed_roles is field 2 of Subscribe, offer_constraints field 3.
    let subscribe = v1::scheduler::call::Subscribe {
        suppressed_roles: vec!["r".into()],
        offer_constraints: Some(v1::scheduler::OfferConstraints::default()),
        ..Default::default()
    };
    assert!(subscribe.encode_to_vec().ends_with(&[0x12, 1, b'r', 0x1a, 0]));
    // max_grace_period of DRAIN_AGENT is a google.protobuf.Duration: seconds in field 1.
    let drain = v1::master::call::DrainAgent {
        max_grace_period: Some(prost_types::Duration { seconds: 2, nanos: 0 }),
        ..Default::default()
    };
    assert!(drain.encode_to_vec().ends_with(&[0x12, 2, 0x08, 2]));
}

#[test]
fn recorded_protobuf_answers_are_complete() {
    let Some(golden) = golden() else { return };
    let mut count = 0;
    for (folder, master) in [
        ("v1-master-idle-protobuf", true),
        ("v1-master-busy-protobuf", true),
        ("v1-agent-idle-protobuf", false),
        ("v1-agent-busy-protobuf", false),
    ] {
        for entry in std::fs::read_dir(golden.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if !path.to_string_lossy().ends_with(".response.body.base64") {
                continue;
            }
            let bytes = crate::reader::decode_base64(&std::fs::read(&path).unwrap()).unwrap();
            let json = if master {
                protobuf::decode::<v1::master::Response>(&bytes).map(|m| text(&m))
            } else {
                protobuf::decode::<v1::agent::Response>(&bytes).map(|m| text(&m))
            };
            assert!(
                json.as_ref().is_ok_and(|json| json.starts_with("{\"type\":\"GET_")),
                "{path:?}: {json:?}"
            );
            count += 1;
        }
    }
    assert!(count > 20, "{count}");
}

#[test]
fn rule_34_booleans_and_infinities_may_be_strings() {
    assert_eq!(again::<v1::CommandInfo>(r#"{"shell":"false"}"#), r#"{"shell":false}"#);
    let scalar: v1::value::Scalar = from_slice(br#"{"value":"-Infinity"}"#).unwrap();
    assert_eq!(scalar.value, f64::NEG_INFINITY);
    assert!(from_slice::<v1::value::Scalar>(br#"{"value":Infinity}"#).unwrap_err().is_syntax());
}

#[test]
fn rule_35_infinity_is_a_bare_word() {
    assert_eq!(again::<v1::value::Scalar>(r#"{"value":"Infinity"}"#), r#"{"value":Infinity}"#);
}

#[test]
fn rule_36_nesting_stops_at_200_levels() {
    let nested = |depth: usize| format!(r#"{{"value":"x","y":{}{}}}"#, "[".repeat(depth), "]".repeat(depth));
    assert!(from_slice::<v1::FrameworkId>(nested(199).as_bytes()).is_ok());
    assert!(from_slice::<v1::FrameworkId>(nested(200).as_bytes()).unwrap_err().is_syntax());
    let parents = |depth: usize| {
        format!("{}{{\"value\":\"x\"}}{}", r#"{"value":"x","parent":"#.repeat(depth), "}".repeat(depth))
    };
    assert!(from_slice::<v1::ContainerId>(parents(199).as_bytes()).is_ok());
    assert!(from_slice::<v1::ContainerId>(parents(100_000).as_bytes()).unwrap_err().is_syntax());
}

#[test]
fn syntax_errors_read_as_recorded() {
    for (body, near) in [
        ("{not json", "not json"),
        ("", ""),
        ("  \n", ""),
        ("{x", "x"),
        (r#"{"a":1,}"#, "}"),
        (r#"{"a":1 "b":2}"#, r#""b":2}"#),
        (r#"{"a" 1}"#, "1}"),
        ("[1,]", "]"),
        (r#"{"a":tru}"#, "}"),
        (r#"{"a":"\q"}"#, "\"}"),
        ("nope", "ope"),
    ] {
        let line = 1 + body.matches('\n').count();
        assert_eq!(
            from_slice::<Call>(body.as_bytes()).map_err(|e| (e.is_syntax() || e == Error::NotAnObject, e)),
            from_slice::<Call>(body.as_bytes()).map_err(|e| (true, e)),
        );
        let error = crate::reader::check_syntax(body.as_bytes()).unwrap_err();
        assert_eq!(
            error.call_text(),
            format!("Failed to parse body into JSON: syntax error at line {line} near: {near}")
        );
    }
    assert_eq!(call_error("[]"), "Failed to convert JSON into Call protobuf: Expecting a JSON object");
    assert_eq!(
        call_error("{} x"),
        "Failed to parse body into JSON: Parsed JSON included non-whitespace trailing characters: x"
    );
    // Wrong text wins over a wrong field, wherever it stands.
    assert!(from_slice::<Call>(b"{\"type\":5,\"x\":}").unwrap_err().is_syntax());
    assert_eq!(
        from_slice::<v1::FrameworkId>(b"{\n\"value\":\n?").unwrap_err().to_string(),
        "syntax error at line 3 near: ?"
    );
}

#[test]
fn strings_keep_every_character() {
    let body = r#"{"value":"\u00e9\ud83d\ude00\"\\\/\b\f\n\r\t\u0001/"}"#;
    let id: v1::FrameworkId = from_slice(body.as_bytes()).unwrap();
    assert_eq!(id.value, "é😀\"\\/\u{8}\u{c}\n\r\t\u{1}/");
    assert_eq!(text(&id), r#"{"value":"é😀\"\\/\b\f\n\r\t\u0001/"}"#);
    for bad in [
        r#""\ud83d""#,
        r#""\ud83dx""#,
        r#""\ude00""#,
        r#""\ud83d\u0041""#,
        r#""\u12g4""#,
        "\"\n\"",
        "\"\x01\"",
        "\"abc",
    ] {
        assert!(
            from_slice::<v1::FrameworkId>(format!("{{\"value\":{bad}}}").as_bytes()).unwrap_err().is_syntax(),
            "{bad}"
        );
    }
    assert!(matches!(from_slice::<v1::FrameworkId>(b"{\"value\":\"\xff\"}"), Err(Error::Utf8 { line: 1 })));
    // Escapes in keys count too.
    assert_eq!(again::<v1::FrameworkId>(r#"{"valu\u0065":"x"}"#), r#"{"value":"x"}"#);
}

#[test]
fn doubles_print_as_recorded() {
    for (value, printed) in [
        (4.0, "4.0"),
        (0.0, "0.0"),
        (-0.0, "-0.0"),
        (-1.5, "-1.5"),
        (0.1, "0.1"),
        (1795257590.9478242, "1795257590.9478242"),
        (1e15, "1000000000000000.0"),
        (1e20, "100000000000000000000.0"),
        (1e21, "1e21"),
        (1.25e30, "1.25e30"),
        (1e-6, "0.000001"),
        (1.5e-7, "1.5e-7"),
        (5e-324, "5e-324"),
        (f64::MAX, "1.7976931348623157e308"),
        (f64::INFINITY, "Infinity"),
        (f64::NEG_INFINITY, "-Infinity"),
        (f64::NAN, "NaN"),
    ] {
        let mut writer = Writer::new();
        writer.double(value);
        assert_eq!(String::from_utf8(writer.finish()).unwrap(), printed);
    }
}

#[test]
fn thousandths_print_like_doubles() {
    for value in [0, 1, 10, 100, 1000, 1500, 31_250, -1, -2_500, 999_999, 10_240_000, i64::MAX / 1000] {
        let mut exact = Writer::new();
        exact.thousandths(value);
        let mut double = Writer::new();
        double.double(value as f64 / 1000.0);
        assert_eq!(exact.finish(), double.finish(), "{value}");
    }
}

#[test]
fn maps_are_objects() {
    let body = r#"{"framework_id":{"value":"f"},"offer_ids":[]}"#;
    assert!(from_slice::<v1::scheduler::call::Accept>(body.as_bytes()).is_ok());
    let config = r#"{"role":"r","guarantees":{},"limits":{"cpus":{"value":1},"mem":{"value":2.5}}}"#;
    assert_eq!(
        again::<v1::quota::QuotaConfig>(config),
        r#"{"role":"r","limits":{"cpus":{"value":1.0},"mem":{"value":2.5}}}"#
    );
    assert_eq!(
        from_slice::<v1::quota::QuotaConfig>(br#"{"role":"r","limits":{"cpus":{}}}"#),
        Err(Error::Missing(vec!["limits[0].value.value".into()]))
    );
}

#[test]
fn durations_are_plain_objects() {
    let body = r#"{"agent_id":{"value":"a"},"max_grace_period":{"seconds":2,"nanos":5},"mark_gone":false}"#;
    assert_eq!(again::<v1::master::call::DrainAgent>(body), body);
    assert_eq!(
        from_slice::<v1::master::call::DrainAgent>(br#"{"agent_id":{"value":"a"},"max_grace_period":"2s"}"#)
            .unwrap_err()
            .call_text(),
        "Failed to convert JSON into Call protobuf: Not expecting a JSON string for field 'max_grace_period'"
    );
}

#[test]
fn lists_of_messages_are_read() {
    let list: Vec<v1::MachineId> = list_from_slice(br#"[{"hostname":"h"},{"ip":"1.2.3.4"}]"#).unwrap();
    assert_eq!(list.len(), 2);
    assert_eq!(list_from_slice::<v1::MachineId>(b"{}"), Err(Error::NotAnArray));
    assert_eq!(list_from_slice::<v1::MachineId>(b"[1]"), Err(Error::NotAnObject));
}

#[test]
fn small_bodies_do_not_become_large_messages() {
    use prost::Message as _;
    let operations = vec!["{}"; 200_000].join(",");
    let body = format!(r#"{{"type":"ACCEPT","accept":{{"operations":[{operations}]}}}}"#);
    assert_eq!(from_slice::<Call>(body.as_bytes()), Err(Error::TooLarge));
    // accept { operations {} operations {} .. }
    let accept = [0x12, 0].repeat(200_000);
    let mut call = Call { r#type: Some(3), ..Default::default() }.encode_to_vec();
    call.push(0x22);
    prost::encoding::encode_varint(accept.len() as u64, &mut call);
    call.extend_from_slice(&accept);
    assert_eq!(protobuf::decode::<Call>(&call), Err(protobuf::Error::TooLarge));
    // Nor do messages that are kept behind a pointer.
    let groups = vec![r#"{"launch_group":{}}"#; 200_000].join(",");
    let body = format!(r#"{{"type":"ACCEPT","accept":{{"operations":[{groups}]}}}}"#);
    assert_eq!(from_slice::<Call>(body.as_bytes()), Err(Error::TooLarge));
    // An honest launch of many tasks is no problem, nor is a large list.
    let task = v1::TaskInfo {
        name: "a task".into(),
        command: Some(v1::CommandInfo { value: Some("true".into()), ..Default::default() }),
        resources: vec![v1::Resource {
            name: "cpus".into(),
            scalar: Some(Default::default()),
            ..Default::default()
        }],
        ..Default::default()
    };
    let launch = v1::offer::operation::Launch { task_infos: vec![task; 100_000] };
    let operation = v1::offer::Operation { launch: Some(launch), ..Default::default() };
    let call = Call {
        accept: Some(v1::scheduler::call::Accept { operations: vec![operation], ..Default::default() }),
        ..Default::default()
    };
    assert!(protobuf::decode::<Call>(&call.encode_to_vec()).is_ok());
    assert!(from_slice::<Call>(&to_vec(&call)).is_ok());

    let resource = r#"{"name":"cpus","type":"SCALAR","scalar":{"value":1}}"#;
    let list = format!("[{}]", vec![resource; 20_000].join(","));
    let list: Vec<v1::Resource> = list_from_slice(list.as_bytes()).unwrap();
    let offer = v1::Offer { resources: list, ..Default::default() };
    assert_eq!(protobuf::decode::<v1::Offer>(&offer.encode_to_vec()), Ok(offer));
}

#[test]
fn a_streaming_writer_sets_commas_across_pieces() {
    let mut whole = Vec::new();
    let mut pieces = 0;
    let mut sink = |piece: Vec<u8>| {
        whole.extend_from_slice(&piece);
        pieces += 1;
        piece
    };
    let mut writer = Writer::streaming(&mut sink);
    writer.begin_object();
    writer.raw_key(b"\"list\":");
    writer.begin_array();
    for number in 0..100_000 {
        writer.unsigned(number);
        writer.pause();
    }
    writer.end_array();
    writer.key("last");
    writer.boolean(true);
    writer.end_object();
    assert!(writer.finish().is_empty());
    assert!(pieces > 2);
    let value: serde_json::Value = serde_json::from_slice(&whole).unwrap();
    assert_eq!(value["list"].as_array().unwrap().len(), 100_000);
}

#[test]
fn what_needs_an_escape_is_seen_at_any_place() {
    for length in 0..40 {
        let plain = "é~ [!#]\u{7f}".chars().cycle().take(length).collect::<String>();
        let mut writer = Writer::new();
        writer.string(&plain);
        assert_eq!(writer.finish(), format!("\"{plain}\"").into_bytes());
        for at in 0..length {
            for (special, escaped) in
                [("\"", "\\\""), ("\\", "\\\\"), ("\n", "\\n"), ("\0", "\\u0000"), ("\u{1f}", "\\u001F")]
            {
                let with = |text: &str| "x".repeat(at) + text + &"y".repeat(length - at - 1);
                let mut writer = Writer::new();
                writer.string(&with(special));
                assert_eq!(writer.finish(), format!("\"{}\"", with(escaped)).into_bytes());
            }
        }
    }
}

#[test]
fn a_piece_is_whole_and_can_be_written_again() {
    let mut handed = 0;
    let mut sink = |piece: Vec<u8>| {
        handed += 1;
        piece
    };
    let text = "x".repeat(CHUNK_BYTES);
    let mut writer = Writer::streaming(&mut sink);
    writer.begin_array();
    writer.null();
    let piece = writer.piece(|w| {
        w.begin_object();
        w.key(&text);
        w.pause();
        w.boolean(true);
        w.end_object();
    });
    let piece = piece.to_vec();
    assert_eq!(piece, format!("{{\"{text}\":true}}").into_bytes());
    writer.pause();
    writer.end_array();
    writer.finish();
    assert_eq!(handed, 2);
    let mut again = Writer::new();
    again.begin_array();
    again.raw(&piece);
    again.raw(&piece);
    again.end_array();
    assert_eq!(again.finish(), [b"[", &piece[..], b",", &piece, b"]"].concat());
}

/// The recorded answers of a genuine Mesos, when this checkout has them beside it.
fn golden() -> Option<PathBuf> {
    [concat!(env!("CARGO_MANIFEST_DIR"), "/../../../../shared/reference/golden")]
        .map(PathBuf::from)
        .into_iter()
        .find(|path| path.is_dir())
}

fn answers(folder: &str) -> Vec<(String, String)> {
    let Some(golden) = golden() else {
        println!("recorded answers are not here; nothing compared");
        return Vec::new();
    };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(golden.join(folder)).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let Ok(whole) = std::fs::read_to_string(&path) else { continue };
        if name.ends_with(".response.recordio") {
            let mut rest = whole.as_str();
            while let Some((length, body)) = rest.split_once('\n') {
                let length: usize = length.parse().unwrap();
                found.push((name.clone(), body[..length].to_owned()));
                rest = &body[length..];
            }
        }
        if !name.ends_with(".response.http") && !name.ends_with(".request.http") {
            continue;
        }
        let (head, body) = whole.split_once("\r\n\r\n").unwrap();
        if body.starts_with('{') && (head.contains(" 200 OK") || name.ends_with(".request.http")) {
            found.push((name, body.to_owned()));
        }
    }
    found
}

/// Where two texts differ, numbers compared by value: Mesos' printer sometimes takes another of the
/// equally short texts of a double.
fn first_difference(ours: &str, theirs: &str) -> Option<usize> {
    let number = |text: &str| -> usize {
        text.bytes().take_while(|b| b.is_ascii_digit() || b"+-.eE".contains(b)).count()
    };
    let (mut a, mut b) = (0, 0);
    while a < ours.len() || b < theirs.len() {
        let (x, y) = (number(&ours[a..]), number(&theirs[b..]));
        if x > 0 && y > 0 {
            if ours[a..a + x].parse::<f64>() != theirs[b..b + y].parse::<f64>()
                && ours[a..a + x] != theirs[b..b + y]
            {
                return Some(a);
            }
            (a, b) = (a + x, b + y);
        } else if ours[a..].chars().next() == theirs[b..].chars().next() {
            let step = ours[a..].chars().next().map_or(1, char::len_utf8);
            (a, b) = (a + step, b + step);
        } else {
            return Some(a);
        }
    }
    None
}

fn same_after_reading<T: FromJson + ToJson>(folder: &str, kind: &str) -> usize {
    let (mut count, mut different) = (0, 0);
    for (name, body) in answers(folder) {
        if name.ends_with(kind) {
            let ours = again::<T>(&body);
            if let Some(at) = first_difference(&ours, &body) {
                println!(
                    "DIFF {folder}/{name} at {at}\n  {}\n  {}",
                    &ours[at.saturating_sub(60)..ours.len().min(at + 100)],
                    &body[at.saturating_sub(60)..body.len().min(at + 100)]
                );
                different += 1;
            }
            count += 1;
        }
    }
    assert_eq!(different, 0, "answers in {folder} print otherwise");
    count
}

#[test]
fn recorded_answers_come_out_byte_for_byte() {
    // The recorded v1 answers are what our v1 messages print, without a step from v0 names (rule 37).
    let mut count = 0;
    for folder in ["v1-master-idle", "v1-master-busy", "v1-master-after", "v1-master-custom-executor"] {
        count += same_after_reading::<v1::master::Response>(folder, ".response.http");
    }
    for folder in ["v1-agent-idle", "v1-agent-busy", "v1-agent-pod", "v1-agent-custom-executor"] {
        count += same_after_reading::<v1::agent::Response>(folder, ".response.http");
    }
    for folder in ["scheduler", "errors"] {
        count += same_after_reading::<v1::scheduler::Event>(folder, ".response.recordio");
    }
    count += same_after_reading::<v1::executor::Event>("executor", ".response.recordio");
    count += same_after_reading::<v1::master::Event>("v1-master-subscribe", ".response.recordio");
    for (name, body) in answers("mutations") {
        let same = match () {
            // The keys of maps come in no order there, sorted here.
            () if name.ends_with(".request.http") || name.contains("GET_QUOTA") => continue,
            () if name.starts_with("00-operator") => again::<v1::master::Event>(&body),
            () if name.starts_with("00-scheduler") => again::<v1::scheduler::Event>(&body),
            () if name.contains("-agent-GET_") => again::<v1::agent::Response>(&body),
            () if name.contains("-GET_") => again::<v1::master::Response>(&body),
            () => continue,
        };
        assert_eq!(first_difference(&same, &body), None, "{name}\n{same}\n{body}");
        count += 1;
    }
    println!("{count} recorded answers are the same");
    assert!(count > 100 || golden().is_none());
}
