//! Plots as SVG text: panels below each other, or a grid of small ones.

use plotters::coord::Shift;
use plotters::prelude::*;

use super::Error;

/// A line of a plot.
#[derive(Debug, Clone)]
pub(crate) struct Series {
    /// What it shows.
    pub(crate) label: &'static str,
    /// Its colour.
    pub(crate) color: RGBColor,
    /// Whether the area below is filled.
    pub(crate) filled: bool,
    /// Its points.
    pub(crate) points: Vec<(f64, f64)>,
}

/// One pair of axes.
#[derive(Debug, Clone)]
pub(crate) struct Panel {
    /// What stands above it.
    pub(crate) title: String,
    /// The unit of the vertical axis.
    pub(crate) unit: &'static str,
    /// The end of the horizontal axis.
    pub(crate) end: f64,
    /// The top of the vertical axis.
    pub(crate) top: f64,
    /// The lines, drawn in order.
    pub(crate) series: Vec<Series>,
    /// A horizontal limit and its name.
    pub(crate) limit: Option<(f64, &'static str)>,
    /// Instants and what happened then.
    pub(crate) marks: Vec<(f64, String)>,
}

/// The colours of all plots: readable on white, and apart for the colour-blind (Okabe and Ito).
pub(crate) const BLUE: RGBColor = RGBColor(0, 114, 178);
/// See [`BLUE`].
pub(crate) const ORANGE: RGBColor = RGBColor(213, 94, 0);
/// See [`BLUE`].
pub(crate) const GREEN: RGBColor = RGBColor(0, 158, 115);
/// See [`BLUE`].
#[allow(dead_code, reason = "not every example draws four lines")]
pub(crate) const PURPLE: RGBColor = RGBColor(160, 80, 140);
const GREY: RGBColor = RGBColor(120, 120, 120);

/// Panels in `columns` columns, each `size` pixels, under one title; `x` names the horizontal axis.
pub(crate) fn draw(
    title: &str,
    x: &str,
    columns: usize,
    size: (u32, u32),
    panels: &[Panel],
) -> Result<String, Error> {
    let rows = panels.len().div_ceil(columns);
    let width = size.0 * u32::try_from(columns)?;
    let height = size.1 * u32::try_from(rows)? + 44;
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, (width, height)).into_drawing_area();
        area.fill(&WHITE)?;
        let area = area.titled(title, ("sans-serif", 24))?;
        for (cell, panel) in area.split_evenly((rows, columns)).iter().zip(panels) {
            draw_panel(cell, x, panel, columns == 1)?;
        }
        area.present()?;
    }
    Ok(svg)
}

fn draw_panel(
    area: &DrawingArea<SVGBackend<'_>, Shift>,
    x: &str,
    panel: &Panel,
    wide: bool,
) -> Result<(), Error> {
    let mut chart = ChartBuilder::on(area)
        .caption(&panel.title, ("sans-serif", 17))
        .margin(8)
        .margin_right(if wide { 28 } else { 14 })
        .x_label_area_size(34)
        .y_label_area_size(66)
        .build_cartesian_2d(0.0..panel.end, 0.0..panel.top)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(WHITE)
        .bold_line_style(RGBColor(225, 225, 225))
        .x_desc(x)
        .y_desc(panel.unit)
        .x_labels(if wide { 12 } else { 6 })
        .y_labels(5)
        .x_label_formatter(&|value| short(*value))
        .y_label_formatter(&|value| short(*value))
        .label_style(("sans-serif", 13))
        .axis_desc_style(("sans-serif", 13))
        .draw()?;
    let many = panel.series.len() > 1;
    for series in &panel.series {
        let (color, points) = (series.color, &series.points);
        if series.filled {
            let area = AreaSeries::new(points.iter().copied(), 0.0, color.mix(0.2));
            chart.draw_series(area)?;
        }
        let line = LineSeries::new(points.iter().copied(), color.stroke_width(2));
        let drawn = chart.draw_series(line)?;
        if many {
            drawn.label(series.label).legend(move |(x, y)| {
                PathElement::new(vec![(x, y), (x + 18, y)], color.stroke_width(2))
            });
        }
    }
    if let Some((limit, name)) = panel.limit {
        let ends = vec![(0.0, limit), (panel.end, limit)];
        chart.draw_series([PathElement::new(ends, ORANGE.stroke_width(2))])?;
        let style = ("sans-serif", 13).into_font().color(&ORANGE);
        chart.draw_series([Text::new(
            name,
            (panel.end * 0.005, limit + panel.top * 0.08),
            style,
        )])?;
    }
    for (at, what) in &panel.marks {
        let ends = vec![(*at, 0.0), (*at, panel.top)];
        chart.draw_series(DashedLineSeries::new(ends, 4, 4, GREY.stroke_width(1)))?;
        let style = ("sans-serif", 12).into_font().color(&GREY);
        let place = (at + panel.end * 0.006, panel.top * 0.97);
        chart.draw_series([Text::new(what.clone(), place, style)])?;
    }
    if many {
        chart
            .configure_series_labels()
            .background_style(WHITE.mix(0.8))
            .label_font(("sans-serif", 13))
            .position(SeriesLabelPosition::UpperLeft)
            .draw()?;
    }
    Ok(())
}

/// A number of an axis: no decimals that say nothing.
fn short(value: f64) -> String {
    if value.abs() >= 10.0 || value.fract().abs() < 1e-9 {
        format!("{value:.0}")
    } else {
        format!("{value:.1}")
    }
}
