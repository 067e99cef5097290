//! Completes the document when all calls are in it.

use std::{borrow::Cow, collections::BTreeMap};

use aldis_protocol::{
    ErrorCode, PendingRotation,
    api::{ChainHead, Problem},
};
use http::{HeaderName, StatusCode, header};
use serde_json::Value;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        AllOfBuilder, Components, Content, HeaderBuilder, ObjectBuilder, OpenApi, Ref, RefOr, Response,
        ResponseBuilder, Schema, Type,
        header::Header,
        path::{Operation, Parameter, PathItem},
        schema::SchemaType,
    },
};

use super::refusals::referred;

const PROBLEM: &str = "application/problem+json";
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The whole document, as JSON.
pub(in crate::http) fn finish(document: OpenApi) -> Option<String> {
    let mut document = serde_json::to_value(complete(document)).ok()?;
    without_code_links(&mut document);
    serde_json::to_string(&document).ok()
}

/// Names the calls, and adds the responses and headers that they refer to and the header of every response.
fn complete(mut document: OpenApi) -> OpenApi {
    let mut components = document.components.take().unwrap_or_default();
    add_headers(&mut components);
    add_schema::<ChainHead>(&mut components);
    add_schema::<PendingRotation>(&mut components);
    for operation in document.paths.paths.values_mut().flat_map(operations) {
        name(operation);
        operation.parameters.iter_mut().flatten().for_each(forbid_null);
        for response in operation.responses.responses.values_mut() {
            match response {
                RefOr::T(response) => identify(response),
                RefOr::Ref(reference) => add_refusal(&mut components, &reference.ref_location),
            }
        }
    }
    document.components = Some(components);
    document
}

fn operations(path: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    let PathItem { get, put, post, delete, .. } = path;
    [get, put, post, delete].into_iter().flatten()
}

/// The names of handlers are unique within their tag.
fn name(operation: &mut Operation) {
    let subject = operation.tags.iter().flatten().next();
    if let (Some(subject), Some(name)) = (subject, &operation.operation_id) {
        operation.operation_id = Some(format!("{subject}_{name}"));
    }
}

/// Optional parameters may be left out, but are never null.
fn forbid_null(parameter: &mut RefOr<Parameter>) {
    if let RefOr::T(parameter) = parameter
        && let Some(RefOr::T(Schema::Object(object))) = &mut parameter.schema
        && let SchemaType::Array(types) = &object.schema_type
        && let Some(only) = types.iter().find(|kind| **kind != Type::Null)
    {
        object.schema_type = SchemaType::Type(only.clone());
    }
}

fn add_headers(components: &mut Components) {
    let whole_number: RefOr<Schema> = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(1)).into();
    let headers = [
        (X_REQUEST_ID, String::schema(), "The request's name in the server's log."),
        (header::RETRY_AFTER, whole_number, "When to try again, in seconds."),
        (
            header::WWW_AUTHENTICATE,
            String::schema(),
            "The scheme, and whether a token was refused (RFC 6750).",
        ),
    ];
    for (name, schema, description) in headers {
        let header = HeaderBuilder::new().schema(Some(schema)).description(Some(description)).build();
        components.headers.insert(written(&name), header.into());
    }
}

fn add_schema<T: ToSchema>(components: &mut Components) {
    let mut schemas = vec![(T::name().into_owned(), T::schema())];
    T::schemas(&mut schemas);
    components.schemas.extend(schemas);
}

fn identify(response: &mut Response) {
    response.headers.insert(written(&X_REQUEST_ID), reference(&X_REQUEST_ID));
}

fn reference(header: &HeaderName) -> RefOr<Header> {
    RefOr::Ref(Ref::new(format!("#/components/headers/{}", written(header))))
}

/// A header's name in its usual spelling.
fn written(header: &HeaderName) -> String {
    let words = header.as_str().split('-').map(|word| match word {
        "www" => "WWW".to_owned(),
        _ => word[..1].to_uppercase() + &word[1..],
    });
    words.collect::<Vec<_>>().join("-")
}

fn add_refusal(components: &mut Components, location: &str) {
    let Some((name, status, codes)) = referred(location) else { return };
    components.responses.entry(name.to_owned()).or_insert_with(|| refusal(status, &codes).into());
}

/// A problem with one of these codes.
fn refusal(status: StatusCode, codes: &[ErrorCode]) -> Response {
    let meanings = codes.iter().map(|code| format!("- `{code}`: {}", meaning(status, *code)));
    let mut response = ResponseBuilder::new()
        .description(meanings.collect::<Vec<_>>().join("\n"))
        .content(PROBLEM, Content::new(Some(problem(status, codes))))
        .build();
    identify(&mut response);
    let told = match status {
        StatusCode::UNAUTHORIZED => Some(header::WWW_AUTHENTICATE),
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => Some(header::RETRY_AFTER),
        _ => None,
    };
    response.headers.extend(told.map(|header| (written(&header), reference(&header))));
    response
}

fn meaning(status: StatusCode, code: ErrorCode) -> &'static str {
    if status == StatusCode::REQUEST_TIMEOUT {
        "The body did not come in whole in time."
    } else {
        code.meaning()
    }
}

fn problem(status: StatusCode, codes: &[ErrorCode]) -> Schema {
    let one_of_them = ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some(codes.iter().map(|code| code.as_str())));
    let this_status = ObjectBuilder::new().schema_type(Type::Integer).enum_values(Some([status.as_u16()]));
    let narrowed = ObjectBuilder::new()
        .schema_type(Type::Object)
        .property("status", this_status)
        .property("code", one_of_them);
    let extended = extensions(codes)
        .into_iter()
        .fold(narrowed, |problem, (name, schema)| problem.property(name, Ref::from_schema_name(schema)));
    AllOfBuilder::new().item(Ref::from_schema_name(Problem::name())).item(extended).into()
}

/// The extra members of some problems: the head of a chain, and the rotation that a replaced key can still cancel.
fn extensions(codes: &[ErrorCode]) -> BTreeMap<&'static str, Cow<'static, str>> {
    let has = |code| codes.contains(&code);
    let head = has(ErrorCode::ChainConflict).then(|| ("head", ChainHead::name()));
    let by_key = has(ErrorCode::InvalidChallenge) && !has(ErrorCode::MissingToken);
    let rotation = by_key.then(|| ("rotation", PendingRotation::name()));
    head.into_iter().chain(rotation).collect()
}

/// Descriptions come from the code, so they have links into it. The recursion is as deep as the document, which is
/// the server's own.
fn without_code_links(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(without_code_links),
        Value::Object(members) => {
            for (name, member) in members {
                if let ("description", Value::String(text)) = (name.as_str(), &mut *member) {
                    *text = plain(text);
                } else {
                    without_code_links(member);
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// ``[`text`](crate::path)`` and ``[`text`]`` as `text`.
fn plain(description: &str) -> String {
    let mut pieces = description.split("](crate::");
    let mut text = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        text.push_str(piece.split_once(')').map_or(piece, |(_, rest)| rest));
    }
    text.replace("[`", "`").replace("`]", "`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_into_the_code_become_their_text() {
        let link = "Over [`Proof`](crate::Proof) of [`Kind`], [here](https://aldis.example).";
        assert_eq!(plain(link), "Over `Proof` of `Kind`, [here](https://aldis.example).");
    }

    #[test]
    fn headers_are_written_as_people_write_them() {
        let all = [X_REQUEST_ID, header::RETRY_AFTER, header::WWW_AUTHENTICATE];
        assert_eq!(all.map(|name| written(&name)), ["X-Request-Id", "Retry-After", "WWW-Authenticate"]);
    }
}
