//! Attributes of agents.

use mesarch_proto::mesos::v1;
use mesarch_types::{
    attribute::{Attribute, AttributeValue},
    resource::{Ranges, Scalar},
};

/// Our form of an agent's attributes, in their order. One whose value is missing, out of range or a set is left out:
/// Mesos has no sets here, and constraints cannot read what has no value.
pub fn attributes_from_v1(list: &[v1::Attribute]) -> Vec<Attribute> {
    list.iter().filter_map(from_v1).collect()
}

fn from_v1(attribute: &v1::Attribute) -> Option<Attribute> {
    let value = match v1::value::Type::try_from(attribute.r#type).ok()? {
        v1::value::Type::Scalar => {
            AttributeValue::Scalar(Scalar::from_f64(attribute.scalar.as_ref()?.value)?)
        }
        v1::value::Type::Ranges => {
            let ranges = &attribute.ranges.as_ref()?.range;
            AttributeValue::Ranges(Ranges::new(ranges.iter().map(|range| (range.begin, range.end)))?)
        }
        v1::value::Type::Text => AttributeValue::Text(attribute.text.as_ref()?.value.as_str().into()),
        v1::value::Type::Set => return None,
    };
    Some(Attribute { name: attribute.name.as_str().into(), value })
}

/// The v1 form of attributes, in their order.
pub fn attributes_to_v1(list: &[Attribute]) -> Vec<v1::Attribute> {
    list.iter().map(to_v1).collect()
}

fn to_v1(attribute: &Attribute) -> v1::Attribute {
    let mut out = v1::Attribute { name: attribute.name.to_string(), ..Default::default() };
    match &attribute.value {
        AttributeValue::Scalar(number) => {
            out.r#type = v1::value::Type::Scalar as i32;
            out.scalar = Some(v1::value::Scalar { value: number.to_f64() });
        }
        AttributeValue::Ranges(ranges) => {
            out.r#type = v1::value::Type::Ranges as i32;
            out.ranges = Some(super::resource::ranges_to_v1(ranges));
        }
        AttributeValue::Text(text) => {
            out.r#type = v1::value::Type::Text as i32;
            out.text = Some(v1::value::Text { value: text.to_string() });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use mesarch_types::attribute::parse_attributes;

    use super::*;

    #[test]
    fn attributes_keep_kind_and_order() {
        let ours = parse_attributes("rack:r1;slots:4.5;ports:[1-2, 4-4];rack:r2").expect("good");
        assert_eq!(attributes_from_v1(&attributes_to_v1(&ours)), ours);
    }

    #[test]
    fn an_attribute_without_its_value_is_left_out() {
        let broken = v1::Attribute { name: "x".into(), r#type: 0, ..Default::default() };
        assert_eq!(attributes_from_v1(&[broken]), []);
    }
}
