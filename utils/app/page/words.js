// Sizes and times in words.

export function bytes(count) {
  return count >= 2 ** 20 ? `${(count / 2 ** 20).toFixed(1)} MB` : `${Math.max(1, Math.round(count / 1024))} KB`;
}

export function pixels([width, height]) {
  return `${width} × ${height}`;
}

export function time(seconds) {
  if (seconds < 1.5) return "a second";
  if (seconds < 10) return `${Math.round(seconds)} seconds`;
  if (seconds < 55) return `${5 * Math.round(seconds / 5)} seconds`;
  if (seconds < 90) return "a minute";
  if (seconds < 3300) return `${Math.round(seconds / 60)} minutes`;
  const hours = Math.round(seconds / 1800) / 2;
  return hours === 1 ? "an hour" : `${hours} hours`;
}

export function files(count) {
  return count === 1 ? "1 file" : `${count} files`;
}
