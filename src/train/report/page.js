// Values under the pointer, and under the arrow keys, in all charts at once.
(function () {
  'use strict';
  const charts = JSON.parse(document.getElementById('data').textContent);
  const drawn = [];
  let step = null;

  function text(chart, x) {
    if (chart.form === 'power') {
      return x.toExponential(chart.digits);
    }
    const number = (x / chart.div).toLocaleString('en', {
      minimumFractionDigits: chart.digits,
      maximumFractionDigits: chart.digits
    });
    return number + ({percent: ' %', bytes: ' ' + chart.unit}[chart.form] || '');
  }

  function left(chart, x) {
    return 100 * (x - chart.x0) / (chart.x1 - chart.x0);
  }

  function bottom(chart, y) {
    const at = y / chart.div;
    return 100 * (chart.log
      ? Math.log(at / chart.y0) / Math.log(chart.y1 / chart.y0)
      : (at - chart.y0) / (chart.y1 - chart.y0));
  }

  // Index of the point nearest to a step, by bisection.
  function nearest(xs, x) {
    let low = 0;
    let high = xs.length - 1;
    while (high - low > 1) {
      const mid = (low + high) >> 1;
      if (xs[mid] <= x) {
        low = mid;
      } else {
        high = mid;
      }
    }
    return x - xs[low] <= xs[high] - x ? low : high;
  }

  function element(parent, name) {
    const e = document.createElement('div');
    e.className = name;
    parent.appendChild(e);
    return e;
  }

  function clear(d) {
    d.marks.forEach(function (e) { e.remove(); });
    d.marks = [];
  }

  // Marks what the chart has at the step; the tip only where the pointer is.
  function show(d, x, tip) {
    const chart = d.chart;
    const plot = d.plot;
    clear(d);
    const line = element(plot, 'cross');
    line.style.left = left(chart, x) + '%';
    d.marks.push(line);
    const lines = [];
    chart.curves.forEach(function (c) {
      const i = nearest(c.x, x);
      const spot = element(plot, 'spot');
      spot.style.left = left(chart, c.x[i]) + '%';
      spot.style.bottom = bottom(chart, c.y[i]) + '%';
      spot.style.background = 'var(--' + c.style + ')';
      d.marks.push(spot);
      lines.push([c, text(chart, c.y[i]),
        c.x[i] === x ? '' : ' at ' + c.x[i].toLocaleString('en')]);
    });
    if (!tip) {
      return;
    }
    const box = element(plot, 'tip');
    const head = document.createElement('span');
    head.textContent = 'step ' + x.toLocaleString('en');
    box.appendChild(head);
    lines.forEach(function (l) {
      const row = document.createElement('span');
      row.className = 'key ' + l[0].style;
      row.textContent = chart.curves.length > 1 ? l[0].name + ' ' : '';
      const value = document.createElement('b');
      value.textContent = l[1];
      row.appendChild(value);
      row.appendChild(document.createTextNode(l[2]));
      box.appendChild(row);
    });
    const width = plot.clientWidth;
    const at = left(chart, x) / 100 * width;
    const room = at + 14 + box.offsetWidth <= width + 8;
    box.style.left = (room ? at + 14
      : Math.max(-36, at - 14 - box.offsetWidth)) + 'px';
    d.marks.push(box);
  }

  function showAll(x, at) {
    step = x;
    drawn.forEach(function (d) { show(d, x, d === at); });
  }

  function clearAll() {
    step = null;
    drawn.forEach(clear);
  }

  charts.forEach(function (chart) {
    const figure = document.getElementById(chart.id);
    const plot = figure.querySelector('.plot');
    const d = {chart: chart, plot: plot, marks: []};
    const steps = Array.from(new Set(chart.curves.flatMap(function (c) {
      return c.x;
    }))).sort(function (a, b) { return a - b; });
    drawn.push(d);
    function point(event) {
      const box = plot.getBoundingClientRect();
      const x = chart.x0 +
        (event.clientX - box.left) / box.width * (chart.x1 - chart.x0);
      showAll(steps[nearest(steps, x)], d);
    }
    plot.addEventListener('pointermove', point);
    plot.addEventListener('pointerdown', point);
    plot.addEventListener('pointerleave', clearAll);
    figure.addEventListener('blur', clearAll);
    figure.addEventListener('keydown', function (event) {
      const by = {ArrowLeft: -1, ArrowRight: 1}[event.key];
      if (by) {
        const i = step === null ? (by > 0 ? -1 : steps.length)
          : nearest(steps, step);
        const next = Math.min(steps.length - 1, Math.max(0, i + by));
        showAll(steps[next], d);
        event.preventDefault();
      }
    });
  });
}());
