# The names of a landmark file (.txt or .csv) from the nearest to the mean to the farthest, with
# their scores: the sum over the coordinates of ((x - mean) / std)^2. Written from the formula, as a
# judge of curator/kinds/landmarks.c.
# Ties: by name. Run as: awk -f celeba_rank.awk FILE | sort -t' ' -k1,1g -k2,2
BEGIN { FS = "[ ,\t\r]+" }
$1 ~ /\.jpg$/ {
    n++
    name[n] = $1
    for (k = 1; k <= 10; k++) {
        x[n, k] = $(k + 1)
        sum[k] += $(k + 1)
    }
}
END {
    for (k = 1; k <= 10; k++) {
        mean = sum[k] / n
        variance = 0
        for (i = 1; i <= n; i++)
            variance += (x[i, k] - mean) ^ 2 / n
        for (i = 1; i <= n; i++)
            if (variance > 0)
                score[i] += (x[i, k] - mean) ^ 2 / variance
    }
    for (i = 1; i <= n; i++)
        printf "%.12g %s\n", score[i], name[i]
}
