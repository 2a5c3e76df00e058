// What the lists of RCCs and of weak spots are made of; stands before their scripts.
function made(tag, name, ...content) {
  const part = document.createElement(tag);
  part.className = name;
  part.append(...content);
  return part;
}

// A failure rate with its interval, and a line at the rate of the whole test set.
function rateBar({ rate, low, high }, base) {
  const track = made("span", "safe-rate-bar"), at = (share) => `${(100 * share).toFixed(1)}%`;
  const fill = made("i", "safe-rate-fill"), range = made("i", "safe-rate-range"), line = made("i", "safe-rate-base");
  fill.style.width = at(rate);
  range.style.left = at(low);
  range.style.width = at(Math.max(high - low, 0.004));
  line.style.left = at(base);
  track.append(fill, range, line);
  track.setAttribute("aria-hidden", "true");  // the words beside it say it
  return track;
}

