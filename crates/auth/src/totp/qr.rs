//! QR codes as SVG.

use qrcode::{EcLevel, QrCode, render::svg::Color};

/// The text as a QR code in SVG; `None` if the text is too long.
pub(super) fn svg(text: &str) -> Option<String> {
    let code = QrCode::with_error_correction_level(text, EcLevel::M).ok()?;
    Some(code.render::<Color<'_>>().min_dimensions(MIN_PIXELS, MIN_PIXELS).build())
}

const MIN_PIXELS: u32 = 240;
